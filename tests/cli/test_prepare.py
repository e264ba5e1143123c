"""`gancli prepare` and `gancli data` on good and on bad raw data: message, exit code, and what is left on the disk."""

from __future__ import annotations

import csv
import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from gancli.errors import RunError
from tests.cli.conftest import Gancli, call_process
from tests.data.sources.test_flickr8k import write_raw_flickr8k
from tests.data.sources.test_oxford102 import LABELS, write_raw_oxford102
from tests.data.sources.test_places import write_raw_places
from tests.data.test_text_to_speech import ENGINE

BIRD = "001.Black_footed_Albatross/Bird_0001"


def options(out: Path) -> tuple[str | Path, ...]:
    return ("--out", out, "--image-size", "16", "--jobs", "1")


def test_cub_from_raw_to_a_sound_dataset(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    out = tmp_path / "cub"
    answer = gancli("prepare", "cub", "--root", tiny_raw_cub, *options(out), "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["splits"] == {
        "train": {"images": 12, "captions": 36},
        "test": {"images": 12, "captions": 36},
    }
    assert answer.json["already_complete"] is False
    again = gancli("prepare", "cub", "--root", tiny_raw_cub, *options(out), "--json")
    assert again.json["already_complete"] is True
    assert gancli("data", "check", out).code == 0
    shown = gancli("data", "show", out, "-n", "4")
    assert "contact sheet" in shown.stdout
    assert Image.open(out / "contact-sheet.png").width > 100


def test_dry_run_touches_nothing(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for arguments in (("cub", "--root", tiny_raw_cub), ("demo", "--images", "10")):
        answer = gancli("prepare", *arguments, *options(tmp_path / "out"), "--dry-run")
        assert answer.code == 0, answer.stderr
        assert f"{tmp_path / 'out'}" in answer.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_demo_and_the_oracle_on_its_own_images(gancli: Gancli, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    answer = gancli(
        "prepare", "demo", "--out", out, "--images", "20", "--image-size", "32", "--jobs", "1", "-q"
    )
    assert (answer.code, answer.stdout) == (0, f"{out}\n")
    assert (tmp_path / "demo-raw" / "CUB_200_2011" / "images.txt").is_file()
    scored = gancli("score", "agreement", f"{out}:train", "--results", tmp_path / "results.csv", "--json")
    assert scored.code == 0, scored.stderr
    primary = next(row for row in scored.json["rows"] if row["metric"] == "agreement_primary_colour")
    assert primary["value"] >= 90


def test_own_images(gancli: Gancli, tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (40, 40), (number * 60, 0, 0)).save(_made(tmp_path / f"mine/images/{number}.png"))
        _made(tmp_path / f"mine/text/{number}.txt").write_text(f"a dark red image number {number}\n")
    answer = gancli(
        "prepare",
        "folder",
        "--root",
        tmp_path / "mine",
        *options(tmp_path / "out"),
        "--name",
        "reds",
        "--json",
    )
    assert answer.code == 0, answer.stderr
    assert sum(split["images"] for split in answer.json["splits"].values()) == 4
    assert json.loads((tmp_path / "out/dataset.json").read_text())["name"] == "reds"


def test_flowers_with_captions_and_without(gancli: Gancli, tmp_path: Path) -> None:
    root = write_raw_oxford102(tmp_path / "flowers")
    answer = gancli("prepare", "oxford102", "--root", root, *options(tmp_path / "given"), "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["splits"] == {
        "train": {"images": 5, "captions": 10},
        "test": {"images": 3, "captions": 6},
    }
    assert gancli("data", "check", tmp_path / "given").code == 0

    shutil.rmtree(root / "text_c10")
    answer = gancli("prepare", "oxford102", "--root", root, *options(tmp_path / "made"))
    assert answer.code == 3
    assert "--captions-from-class-names" in answer.stderr
    assert not (tmp_path / "made").exists()
    arguments = ("--captions-from-class-names", "--split", "62-40", "--json")
    answer = gancli("prepare", "oxford102", "--root", root, *options(tmp_path / "made"), *arguments)
    assert answer.code == 0, answer.stderr
    assert answer.json["splits"] == {
        "train": {"images": 3, "captions": 30},
        "test": {"images": 5, "captions": 50},
    }
    assert "do not compare" in answer.stderr


def test_flickr8k_whole_and_in_part(gancli: Gancli, tmp_path: Path) -> None:
    root = write_raw_flickr8k(tmp_path / "flickr8k")
    for file in (root / "Flicker8k_Dataset").iterdir():
        Image.new("RGB", (40, 30), "green").save(file)
    answer = gancli("prepare", "flickr8k", "--root", root, *options(tmp_path / "out"), "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["splits"] == {
        "train": {"images": 4, "captions": 8},
        "test": {"images": 2, "captions": 4},
    }
    assert gancli("data", "check", tmp_path / "out").code == 0
    (root / "Flicker8k_Dataset/6_f.jpg").unlink()
    arguments = ("--root", root, *options(tmp_path / "part"), "--split", "official", "--json")
    assert gancli("prepare", "flickr8k", *arguments).code == 3
    answer = gancli("prepare", "flickr8k", *arguments, "--skip-bad")
    assert {name: split["images"] for name, split in answer.json["splits"].items()} == {
        "train": 3,
        "val": 1,
        "test": 1,
    }


def test_places_by_class(gancli: Gancli, tmp_path: Path) -> None:
    root = write_raw_places(tmp_path / "places")
    for file in (root / "images").rglob("*.jpg"):
        Image.new("RGB", (40, 30), "brown").save(file)

    def counts(*arguments: str) -> dict[str, int]:
        out = tmp_path / "-".join(arguments)
        answer = gancli("prepare", "places", "--root", root, *options(out), *arguments, "--json")
        assert answer.code == 0, answer.stderr
        return {name: split["images"] for name, split in answer.json["splits"].items()}

    assert counts("--codec", "jpeg") == {"train": 3, "test": 1}
    assert counts("--classes", "church,home office,abbey") == {"train": 2, "test": 1}
    assert counts("--classes", "all", "--test-share", "0.5") == {"train": 3, "test": 3}
    assert counts("--captions-from-class-names") == {"train": 3, "test": 1}
    answer = gancli("prepare", "places", "--root", root, *options(tmp_path / "out"), "--classes", "bedrom")
    assert answer.code == 2
    assert "did you mean 'bedroom'?" in answer.stderr


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# ----------------------------------------------------------------------- images and captions that cannot be used


def _absent(root: Path) -> None:
    (root / f"CUB_200_2011/images/{BIRD}.jpg").unlink()


def _cut(root: Path) -> None:
    image = root / f"CUB_200_2011/images/{BIRD}.jpg"
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])


def _flat_box(root: Path) -> None:
    boxes = root / "CUB_200_2011/bounding_boxes.txt"
    first, *rest = boxes.read_text().splitlines()
    boxes.write_text("\n".join(["1 10.0 10.0 0.0 5.0", *rest]) + "\n")
    assert first.startswith("1 ")


def _no_caption(root: Path) -> None:
    (root / f"text/{BIRD}.txt").write_text("")


def _no_caption_file(root: Path) -> None:
    (root / f"text/{BIRD}.txt").unlink()


def _wordless(root: Path) -> None:
    (root / f"text/{BIRD}.txt").write_text("!!! ...\n")


@pytest.mark.parametrize(
    "damage", [_absent, _cut, _flat_box, _no_caption, _no_caption_file, _wordless], ids=lambda f: f.__name__
)
def test_a_bad_sample_is_listed_and_only_skipped_when_asked(
    gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(tiny_raw_cub)
    out = tmp_path / "out"
    answer = gancli("prepare", "cub", "--root", tiny_raw_cub, *options(out))
    assert answer.code == 3
    assert "error: 1 of 24 images cannot be used" in answer.stderr
    assert BIRD in answer.stderr
    assert "--skip-bad" in answer.stderr
    rejected = list(csv.DictReader((out / "rejected.csv").open()))
    assert [row["key"] for row in rejected] == [BIRD]
    assert not (out / "dataset.json").exists()

    answer = gancli("prepare", "cub", "--root", tiny_raw_cub, *options(out), "--skip-bad", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["rejected"] == 1
    assert gancli("data", "check", out).code == 0


def _grey(root: Path) -> None:
    path = root / f"CUB_200_2011/images/{BIRD}.jpg"
    Image.open(path).convert("L").save(path)


def _transparent(root: Path) -> None:
    path = root / f"CUB_200_2011/images/{BIRD}.jpg"
    Image.open(path).convert("RGBA").save(path, format="PNG")


def _box_over_the_edge(root: Path) -> None:
    boxes = root / "CUB_200_2011/bounding_boxes.txt"
    boxes.write_text("\n".join(["1 -20.0 10.0 500.0 500.0", *boxes.read_text().splitlines()[1:]]) + "\n")


def _other_number_of_captions(root: Path) -> None:
    captions = root / f"text/{BIRD}.txt"
    captions.write_text("a black bird\n" * 13)


def _replacement_character(root: Path) -> None:
    captions = root / f"text/{BIRD}.txt"
    captions.write_text("a black bird with a bill that\ufffds long\n", encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [_grey, _transparent, _box_over_the_edge, _other_number_of_captions, _replacement_character],
    ids=lambda f: f.__name__,
)
def test_what_looks_odd_but_can_be_used_is_used(
    gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(tiny_raw_cub)
    answer = gancli("prepare", "cub", "--root", tiny_raw_cub, *options(tmp_path / "out"), "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["rejected"] == 0
    assert gancli("data", "check", tmp_path / "out").code == 0


def test_captions_without_a_word_of_an_encoders_vocabulary(
    gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path, encoder: Path
) -> None:
    (tiny_raw_cub / f"text/{BIRD}.txt").write_text("xylophones everywhere\n")
    arguments = (
        "prepare",
        "cub",
        "--root",
        tiny_raw_cub,
        *options(tmp_path / "out"),
        "--vocabulary",
        encoder,
    )
    answer = gancli(*arguments)
    assert answer.code == 3
    assert BIRD in answer.stderr
    assert gancli(*arguments, "--skip-bad").code == 0


def test_flowers_that_are_not_all_there(gancli: Gancli, tmp_path: Path) -> None:
    """Labels and files of different counts: the parts of a copy are taken when asked, and all absent are listed."""
    labels = LABELS * 5
    root = write_raw_oxford102(tmp_path / "flowers", labels)
    for number in range(1, 31):
        (root / f"jpg/image_{number:05d}.jpg").unlink()
    (root / "jpg/image_00040.jpg").write_text("<html>not found</html>")
    arguments = ("prepare", "oxford102", "--root", root, *options(tmp_path / "out"))
    answer = gancli(*arguments)
    assert answer.code == 3
    assert "40 labels" in answer.stderr
    assert "10 images" in answer.stderr
    assert "--skip-bad" in answer.stderr
    assert not (tmp_path / "out").exists()

    dry = gancli(*arguments, "--skip-bad", "--dry-run")
    assert dry.stdout.count("cannot be used: class_") == 20
    assert "cannot be used: 10 more" in dry.stdout
    assert len(gancli(*arguments, "--skip-bad", "--dry-run", "--json").json["bad"]) == 30

    answer = gancli(*arguments, "--skip-bad", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["rejected"] == 31
    rejected = list(csv.DictReader((tmp_path / "out/rejected.csv").open()))
    assert [row["key"] for row in rejected][-1] == "class_00001/image_00040"
    assert gancli("data", "check", tmp_path / "out").code == 0


# -------------------------------------------------------------------------------------- the whole root, the folder


@pytest.mark.parametrize(
    "file", ["images.txt", "classes.txt", "image_class_labels.txt", "bounding_boxes.txt"]
)
def test_a_missing_file_of_the_layout(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path, file: str) -> None:
    (tiny_raw_cub / "CUB_200_2011" / file).unlink()
    answer = gancli("prepare", "cub", "--root", tiny_raw_cub, *options(tmp_path / "out"))
    assert answer.code == 3
    assert file in answer.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_holds_something_else(
    gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path
) -> None:
    out = tmp_path / "thesis"
    _made(out / "chapter1.txt").write_text("years of work")
    answer = gancli("prepare", "cub", "--root", tiny_raw_cub, *options(out))
    assert answer.code == 2
    assert str(out) in answer.stderr
    assert sorted(out.iterdir()) == [out / "chapter1.txt"]


def test_an_output_folder_of_other_settings(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert gancli("prepare", "cub", "--root", tiny_raw_cub, *options(out)).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    answer = gancli(
        "prepare", "cub", "--root", tiny_raw_cub, "--out", out, "--image-size", "32", "--jobs", "1"
    )
    assert answer.code == 2
    assert "image_size" in answer.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_full_disk_leaves_nothing_half_written(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the shard does not fit, the system refuses the write."""
    out = tmp_path / "out"
    arguments = ["prepare", "cub", "--root", tiny_raw_cub, *options(out)]
    full = call_process(arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)))
    assert full.code == 1
    assert "error: " in full.stderr
    assert "Traceback" not in full.stderr
    assert not (out / "dataset.json").exists()
    assert list(out.glob("*.h5")) == []
    assert gancli(*arguments).code == 0
    assert gancli("data", "check", out).code == 0


def test_no_space_left(
    gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "train-00000-of-00001.h5")

    monkeypatch.setattr("gancli.data.shards.ShardWriter.write", refuse)
    answer = gancli("prepare", "cub", "--root", tiny_raw_cub, *options(tmp_path / "out"))
    assert answer.code == 1
    assert "no space left" in answer.stderr.lower()
    assert not (tmp_path / "out/dataset.json").exists()


def test_check_names_the_damaged_shard(gancli: Gancli, tiny_dataset: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_dataset, tmp_path / "copy"))
    shard = sorted(folder.glob("train-*.h5"))[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    answer = gancli("data", "check", folder)
    assert answer.code == 3
    assert shard.name in answer.stderr
    assert gancli("data", "show", folder, "--split", "validation").code == 3


def test_demo_draws_nothing_where_the_output_cannot_go(gancli: Gancli, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    answer = gancli("prepare", "demo", "--out", tmp_path / "out", "--images", "4", "--image-size", "16")
    assert answer.code == 2
    assert not (tmp_path / "out-raw").exists()


# ------------------------------------------------------------------------------------------------------- in parts


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_parts_at_the_same_time_in_one_folder(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "gancli", "prepare", "cub", "--root", tiny_raw_cub, *options(out)]
    running = [
        subprocess.Popen(
            [*command, "--shards", part],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for part in ("1/3", "2/3", "3/3")
    ]
    for process, number in zip(running, (1, 2, 3), strict=True):
        said, complained = process.communicate()
        assert process.returncode == 0, complained
        assert f"{out}, part {number}/3: " in said
        assert f"gancli data merge {out}" in said
    merged = gancli("data", "merge", out, "--json")
    assert merged.code == 0, merged.stderr
    assert (merged.json["already_complete"], merged.json["part"]) == (False, None)
    assert {name: split["images"] for name, split in merged.json["splits"].items()} == {
        "train": 12,
        "test": 12,
    }
    assert gancli("data", "check", out).code == 0
    again = gancli("data", "merge", out)
    assert (again.code, "was complete already" in again.stdout) == (0, True)
    for more in ((), ("--shards", "2/3")):
        answer = gancli(*command[3:], *more, "--json")
        assert answer.json["already_complete"] is True, answer.stderr


def test_parts_in_folders_of_their_own(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    arguments = ("prepare", "cub", "--root", tiny_raw_cub)
    planned = gancli(*arguments, *options(tmp_path / "1"), "--shards", "1/4", "--dry-run", "--json")
    assert (planned.json["part"], planned.json["splits"], planned.json["shards"]) == ("1/4", {"train": 6}, 1)
    text = gancli(*arguments, *options(tmp_path / "1"), "--shards", "1/4", "--dry-run").stdout
    assert f"would write {tmp_path / '1'}, part 1/4: 6 train images in 1 of 4 shards" in text
    folders = []
    for first, part in ((1, "1/4"), (2, "2-3/4")):
        folders.append(tmp_path / str(first))
        answer = gancli(*arguments, *options(folders[-1]), "--shards", part, "--json")
        assert (answer.code, answer.json["part"]) == (0, part)
    lacking = gancli("data", "merge", tmp_path / "out", *folders)
    assert lacking.code == 3
    assert "part 4/4: gancli prepare … --shards 4/4" in lacking.stderr
    assert not (tmp_path / "out").exists()

    folders.append(tmp_path / "4")
    assert gancli(*arguments, *options(folders[-1]), "--shards", "4/4").code == 0
    assert gancli("data", "merge", tmp_path / "out", *folders).code == 0
    assert gancli(*arguments, *options(tmp_path / "out")).stdout.count("was complete already") == 1

    assert gancli(*arguments, *options(tmp_path / "together"), "--shards", "1-4/4").code == 0
    assert gancli(*arguments, *options(tmp_path / "together")).code == 0  # finishes without a merge
    assert folder_bytes(tmp_path / "together") == folder_bytes(tmp_path / "out")


def test_parts_with_bad_images(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    (tiny_raw_cub / "CUB_200_2011/images" / f"{BIRD}.jpg").write_bytes(b"")
    out = tmp_path / "out"
    for part in ("1/2", "2/2"):
        answer = gancli("prepare", "cub", "--root", tiny_raw_cub, *options(out), "--shards", part)
        assert answer.code == 0
        warned = "cannot be used: 1 (-v: which); `gancli data merge` will ask for --skip-bad" in answer.stderr
        assert warned is (part == "2/2")
    answer = gancli("data", "merge", out)
    assert answer.code == 3
    assert f"{BIRD}: " in answer.stderr
    assert gancli("data", "merge", out, "--skip-bad", "--json").json["rejected"] == 1


@pytest.mark.parametrize("part", ["0/16", "17/16", "5-3/16", "x/16", ""])
def test_parts_that_there_are_not(gancli: Gancli, tmp_path: Path, part: str) -> None:
    for source in (("cub", "--root", tmp_path / "absent"), ("demo",)):
        answer = gancli("prepare", *source, *options(tmp_path / "out"), "--shards", part)
        assert answer.code == 2
        assert "--shards" in answer.stderr
        assert f"{part}: " in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_merging_what_is_not_there(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    assert gancli("data", "merge", tmp_path / "absent").code == 3
    arguments = ("prepare", "cub", "--root", tiny_raw_cub)
    assert gancli(*arguments, *options(tmp_path / "1"), "--shards", "1/2").code == 0
    assert gancli(*arguments, *options(tmp_path / "2"), "--shards", "2/2", "--codec", "jpeg").code == 0
    answer = gancli("data", "merge", tmp_path / "out", tmp_path / "1", tmp_path / "2")
    assert answer.code == 2
    assert "codec: jpeg there, raw in " in answer.stderr


def test_demo_birds_in_parts(gancli: Gancli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second to the raw images of a demo takes those of the first."""
    from gancli.data.sources.demo import dataset as demo

    arguments = ("prepare", "demo", *options(tmp_path / "out"), "--images", "8")
    write, second = demo._write, []

    def draw_twice(*given: Any) -> None:
        write(*given)
        if not second:  # another part begins and ends before this one has its images in place
            second.append(True)
            assert gancli(*arguments, "--shards", "2/2").code == 0

    monkeypatch.setattr(demo, "_write", draw_twice)
    answer = gancli(*arguments, "--shards", "1/2")
    assert answer.code == 0, answer.stderr
    assert gancli("data", "merge", tmp_path / "out").code == 0
    assert gancli("data", "check", tmp_path / "out").code == 0


# ------------------------------------------------------------------------------------------------------ speech


def test_captions_spoken_by_espeak(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the extra `speech` is not installed")
    arguments = ("prepare", "cub", "--root", tiny_raw_cub, *options(tmp_path / "cub"), "--speech", "tts")
    voices = ("--voice", "en-us", "--voice", "en-gb", "--speed", "200", "--keep-audio", "--no-cmvn")
    planned = gancli(*arguments, *voices, "--dry-run")
    assert "144 spoken captions" in planned.stdout
    answer = gancli(*arguments, *voices, "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["splits"]["test"] == {"images": 12, "captions": 36, "utterances": 72}
    assert gancli("data", "check", tmp_path / "cub").code == 0
    shown = gancli("data", "show", tmp_path / "cub")
    assert "spoken by espeak-ng library" in shown.stdout
    again = gancli(*arguments, *voices)
    assert "144 spoken captions (was complete already)" in again.stdout
    other = gancli(*arguments)
    assert other.code == 2
    assert "cmvn: False there, True asked for" in other.stderr


def test_captions_spoken_by_another_program(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    line = f"{sys.executable} {script} {{text_file}} {{wav_file}}"
    arguments = ("prepare", "cub", "--root", tiny_raw_cub, "--speech", "tts", "--tts-cmd", line)
    answer = gancli(*arguments, *options(tmp_path / "out"), "--sample-rate", "native", "--json")
    assert answer.code == 0, answer.stderr
    manifest = json.loads((tmp_path / "out/dataset.json").read_text())["speech"]
    assert (manifest["backend"], manifest["voices"], manifest["mel"]["sample_rate"]) == ("command", [], None)
    assert str(tmp_path) not in manifest["version"]


def write_recordings(raw: Path, folder: Path) -> None:
    """S2IGAN's layout: <class>/<image>/<n>.wav for every caption."""
    for text in raw.glob("text/*/*.txt"):
        for number in range(3):
            noise = np.random.default_rng(number).uniform(-0.5, 0.5, 4000)
            soundfile.write(_made(folder / text.parent.name / text.stem / f"{number}.wav"), noise, 16000)


def test_recorded_captions(gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path) -> None:
    arguments = ("prepare", "cub", "--root", tiny_raw_cub, "--speech", "wav")
    absent = gancli(*arguments, *options(tmp_path / "out"))
    assert absent.code == 2
    assert "--speech-root" in absent.stderr
    write_recordings(tiny_raw_cub, tiny_raw_cub / "CUB_200_2011" / "audio")
    answer = gancli(*arguments, *options(tmp_path / "out"), "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["splits"]["train"]["utterances"] == 36

    audio = shutil.move(tiny_raw_cub / "CUB_200_2011" / "audio", tmp_path / "elsewhere")
    (Path(audio) / BIRD / "1.wav").unlink()
    answer = gancli(*arguments, *options(tmp_path / "lacking"), "--speech-root", audio)
    assert answer.code == 3
    assert "2 of 3 captions are recorded" in answer.stderr
    assert "no recording with number 1" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--voice", "en-gb"), "--voice needs --speech tts"),
        (("--speech", "wav", "--speed", "150"), "--speed needs --speech tts"),
        (("--speech", "tts", "--speech-root", "."), "--speech-root needs --speech wav"),
        (("--keep-audio",), "--keep-audio needs --speech"),
        (("--speech", "tts", "--tts-cmd", "no-such-program {text_file} {wav_file}"), "there is no program"),
        (("--speech", "wav", "--sample-rate", "fast"), "--sample-rate fast: a number of Hz"),
        (("--speech", "wav", "--speech-root", "absent"), "absent is not a folder"),
        (("--speech", "mp3"), "'mp3' is not one of"),
    ],
)
def test_options_about_speech_that_make_no_sense(
    gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    answer = gancli("prepare", "cub", "--root", tiny_raw_cub, *options(tmp_path / "out"), *arguments)
    assert answer.code in (2, 3)
    assert message in answer.stderr
    assert not (tmp_path / "out").exists()


def test_no_synthesizer(
    gancli: Gancli, tiny_raw_cub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise RunError("eSpeak NG cannot be loaded: No module named 'espeakng_loader'")

    monkeypatch.setattr("gancli.data.text_to_speech.EspeakLibrary", absent)
    monkeypatch.setenv("PATH", "")
    for command in (("cub", "--root", tiny_raw_cub), ("demo",)):
        answer = gancli("prepare", *command, *options(tmp_path / "out"), "--speech", "tts")
        assert answer.code == 1
        assert 'pip install "gancli[speech]"' in answer.stderr
    assert not (tmp_path / "out-raw").exists()  # said before the birds are drawn
