"""Every command takes a run, a model or an encoder by any of its paths: folder, run folder, checkpoint, or latest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gancli.engine.checkpoint import checkpoints_in
from tests.cli.conftest import call

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("judges_at_chance")]

TINY = ("train.minutes=null", "train.steps=2", "train.log_every=1", "train.device=cpu", "loader.batch=4")
# Command lines that train what the others use, in order: `latest` is an FF-GAN for commands that draw
TRAINED = {
    "damsm": "pretrain-encoder damsm data=data/demo --out encoders/damsm",
    "classifier": "pretrain-encoder classifier data=data/demo split=test --out encoders/classifier",
    "char-cnn-rnn": "pretrain-encoder char-cnn-rnn data=data/demo features.encoder=encoders/damsm --out encoders/char",
    "stackgan": "train stackgan stage=1 data=data/demo encoder=encoders/char",
    "attr2image": "train attr2image stage=shape data=data/demo",
    "ffgan": "train ffgan data=data/demo encoder=encoders/damsm",
    "csfgan": "train csfgan data=data/demo encoder=encoders/damsm",
}
ENCODERS = {"damsm": "damsm", "classifier": "classifier", "char-cnn-rnn": "char"}

# What is named, and a command line that names it as PATH; it may write into OUT
COMMANDS = [
    ("ffgan", "sample PATH --text bird --out OUT --device cpu"),
    (
        "ffgan",
        "score human make PATH images --data data/demo:test -n 2 --name a --name b --out OUT --device cpu",
    ),
    ("ffgan", "score cost PATH --results OUT"),
    ("ffgan", "train ffgan --resume PATH --dry-run"),
    ("ffgan", "train ffgan --init-from PATH data=data/demo encoder=encoders/damsm"),
    ("csfgan", "inpaint PATH --image photo.png --mask hole.png --text bird --out OUT.png --device cpu"),
    ("stackgan", "train stackgan stage=2 init.stage1=PATH data=data/demo encoder=encoders/char"),
    ("attr2image", "train attr2image stage=image init.shape=PATH data=data/demo"),
    ("damsm", "train ffgan data=data/demo encoder=PATH"),
    ("damsm", "train csfgan data=data/demo encoder=PATH"),
    ("char-cnn-rnn", "train stackgan stage=1 data=data/demo encoder=PATH"),
    ("damsm", "pretrain-encoder damsm --resume PATH --dry-run"),
    ("damsm", "pretrain-encoder char-cnn-rnn data=data/demo features.encoder=PATH --out OUT"),
    ("char-cnn-rnn", "embed data/demo --encoder PATH --out OUT.npz --device cpu"),
    ("damsm", "prepare folder --root mine --image-size 64 --vocabulary PATH --out OUT"),
    ("damsm", "score fid data/demo:test images --features encoder:PATH --results OUT --device cpu"),
    ("classifier", "score is images --network classifier:PATH --splits 2 --results OUT --device cpu"),
    ("damsm", "score r-precision images --encoder PATH --candidates 4 --results OUT --device cpu"),
    ("damsm", "score map images --features encoder:PATH --results OUT --device cpu"),
    ("damsm", "score recall images --features encoder:PATH --results OUT --device cpu"),
]


def run(line: str) -> None:
    words = line.split()
    trains = words[0] in ("train", "pretrain-encoder") and "--resume" not in words
    answer = call(*words, *(TINY if trains else ()))
    assert answer.code == 0, f"gancli {line}\n{answer.stderr}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, runs and encoders; not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("prepare demo --images 48 --jobs 1 --out data/demo")
        for line in TRAINED.values():
            run(line)
        run("sample runs/0006-ffgan-demo --data data/demo --split test --out images --device cpu")
    Image.new("RGB", (64, 64), "green").save(folder / "photo.png")
    (folder / "mine").mkdir()
    for number in range(4):
        Image.new("RGB", (80, 90), "red").save(folder / f"mine/{number}.png")
        (folder / f"mine/{number}.txt").write_text("a red bird\n", encoding="utf-8")
    hole = np.zeros((64, 64), np.uint8)
    hole[20:40, 20:40] = 255
    Image.fromarray(hole).save(folder / "hole.png")
    return folder


def paths_of(name: str) -> list[str]:
    (run_folder,) = Path("runs").glob(f"*-{name}-*")
    own = f"encoders/{ENCODERS[name]}" if name in ENCODERS else f"{run_folder}/model"
    return [own, str(run_folder), str(checkpoints_in(run_folder / "checkpoints")[-1]), "latest"]


@pytest.mark.parametrize(("name", "line"), COMMANDS, ids=lambda value: value.partition(" PATH")[0])
def test_any_path_will_do(
    folder: Path, name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()  # links: new runs must not be the latest of other commands
    for path in (*folder.iterdir(), *(folder / "runs").iterdir()):
        if path.name != "runs":
            (tmp_path / path.relative_to(folder)).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    for number, path in enumerate(paths_of(name)):
        run(line.replace("PATH", path).replace("OUT", str(tmp_path / f"out{number}")))
