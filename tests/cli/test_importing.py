"""`gancli import`: from public files to images, and the errors of files that do not fit."""

from __future__ import annotations

import pickle

import torch
from PIL import Image

from gancli.data.shards import Dataset
from gancli.data.sources import cub
from tests.importing import public
from tests.importing.conftest import TEXT_DIM, WORDS, attngan_files, imported_damsm  # noqa: F401 - fixtures

DFGAN = ("--set", "model.generator_width=4", "--set", "model.discriminator_width=4", "--set", "model.size=32")


def test_from_public_files_to_images(gancli, attngan_files, tmp_path):  # noqa: F811
    folder, _, _ = attngan_files
    names = ("text_encoder200.pth", "image_encoder200.pth")
    encoder, model, images = tmp_path / "attngan", tmp_path / "dfgan", tmp_path / "images"
    captions = folder / "captions.pickle"
    answer = gancli(
        "import", "damsm", *(folder / name for name in names), "--captions", captions, "-o", encoder
    )
    assert answer.code == 0, answer.stderr
    assert "gancli import ffgan" in answer.stdout
    shapes_d, shapes_c = public.dfgan_discriminator_shapes(4, TEXT_DIM, 32)
    nets = {
        "netG": public.random_state(public.dfgan_generator_shapes(4, TEXT_DIM, 32)),
        "netD": public.random_state(shapes_d),
        "netC": public.random_state(shapes_c),
    }
    torch.save({"model": nets, "epoch": 1220}, tmp_path / "state.pth")
    answer = gancli(
        "import", "dfgan", tmp_path / "state.pth", "--encoder", encoder, "-o", model, *DFGAN, "--json"
    )
    assert answer.code == 0, answer.stderr
    assert answer.json["folder"] == str(model)
    assert answer.json["dropped"] == []
    assert len(answer.json["files"][0]["sha256"]) == 64
    answer = gancli("sample", model, "--text", "a small red bird", "--out", images, "-q")
    assert answer.code == 0, answer.stderr
    drawn = next(path for path in images.rglob("*.png") if Image.open(path).size == (32, 32))
    assert drawn.is_file()


def test_dropped_tensors_are_named(gancli, imported_damsm, tmp_path):  # noqa: F811
    torch.save(
        public.random_state(public.ffgan_generator_shapes(4, TEXT_DIM, stages=3)), tmp_path / "netG.pth"
    )
    arguments = (
        "import",
        "ffgan",
        tmp_path / "netG.pth",
        "--encoder",
        imported_damsm,
        "-o",
        tmp_path / "model",
    )
    settings = ("--set", "model.generator_width=4", "--set", f"model.text_dim={TEXT_DIM}")
    answer = gancli(*arguments, *settings)
    assert answer.code == 0, answer.stderr
    assert "left out 24 tensors that the public code never uses: h_net2.A.weight" in answer.stderr
    again = gancli(*arguments, *settings)
    assert again.code == 2
    assert "is not empty" in again.stderr
    assert gancli(*arguments, *settings, "--overwrite", "-q").stdout.strip() == str(tmp_path / "model")


def test_a_file_that_does_not_fit_ends_with_code_3_and_stays(gancli, imported_damsm, tmp_path):  # noqa: F811
    (tmp_path / "netG.pth").write_bytes(b"")
    answer = gancli(
        "import", "ffgan", tmp_path / "netG.pth", "--encoder", imported_damsm, "-o", tmp_path / "m"
    )
    assert answer.code == 3
    assert "netG.pth: is empty (0 bytes)" in answer.stderr
    assert "elete" not in answer.stderr
    assert (tmp_path / "netG.pth").exists()
    assert not (tmp_path / "m").exists()


def test_a_training_refuses_an_imported_encoder_on_other_word_numbers(
    gancli,
    imported_damsm,  # noqa: F811
    tiny_dataset,
    tmp_path,
):
    answer = gancli(
        "train", "ffgan", f"data={tiny_dataset}", f"encoder={imported_damsm}", "model.stages=[16,32]"
    )
    assert answer.code == 3
    assert "its vocabulary" in answer.stderr
    assert "--vocabulary" in answer.stderr


def test_prepare_takes_a_public_split_and_public_word_numbers(gancli, tiny_raw_cub, tmp_path):
    names = [sample.key for sample in cub.read(tiny_raw_cub).samples][:4]
    (tmp_path / "filenames.pickle").write_bytes(pickle.dumps(names, protocol=2))
    words = dict(enumerate((*WORDS, "black", "brown", "blue")))
    (tmp_path / "captions.pickle").write_bytes(pickle.dumps([[], [], words, {}], protocol=2))
    arguments = ("prepare", "cub", "--root", tiny_raw_cub, "--out", tmp_path / "data", "--image-size", "16")
    public_files = (
        "--test-list",
        tmp_path / "filenames.pickle",
        "--vocabulary",
        tmp_path / "captions.pickle",
    )
    answer = gancli(*arguments, *public_files, "--jobs", "1")
    assert answer.code == 0, answer.stderr
    dataset = Dataset.open(tmp_path / "data")
    assert dataset.vocabulary.words == tuple(words.values())
    assert dataset.manifest.split_rule == "test list"
    assert len(dataset.split("test")) == 4
    answer = gancli(*arguments, *public_files, "--split", "official")
    assert answer.code == 2
    assert "--test-list and --split official" in answer.stderr
