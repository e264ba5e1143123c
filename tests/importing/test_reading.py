"""Public files that cannot be used: refused with a reason, and nothing of them is run."""

from __future__ import annotations

import pickle
import zipfile

import pytest
import torch

from gancli.errors import DataError, UsageError
from gancli.importing.attngan import import_damsm
from gancli.importing.dfgan import import_dfgan
from gancli.importing.ffgan import import_ffgan
from gancli.importing.inception import import_inception
from gancli.importing.reading import PublicFile
from gancli.importing.vocabulary import read_vocabulary
from gancli.importing.weights import import_weights
from gancli.scores.features import load_features
from gancli.weights import WEIGHTS, WeightFile, home
from tests.importing import public
from tests.importing.conftest import TEXT_DIM, WORDS, write_captions


class Runs:
    """Creates a file when it is unpickled by a trusting reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_calls_something_is_named_and_not_run(zipped, tmp_path):
    mark = tmp_path / "was-run"
    content = {"fc.weight": torch.zeros(2, 2), "more": Runs(mark)}
    torch.save(content, tmp_path / "netG.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=r"netG\.pth: refused, nothing of it was run: .*builtin\w*\.exec"):
        PublicFile.read(tmp_path / "netG.pth")
    assert not mark.exists()


def test_a_captions_pickle_that_calls_something_is_not_run(tmp_path):
    mark = tmp_path / "was-run"
    (tmp_path / "captions.pickle").write_bytes(pickle.dumps([[], [], {0: "<end>"}, Runs(mark)]))
    with pytest.raises(
        DataError, match=r"captions\.pickle is not .*builtins\.exec, and nothing of it was run"
    ):
        read_vocabulary(tmp_path / "captions.pickle")
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_the_words_of_captions_pickle_keep_their_numbers(protocol, tmp_path):
    path = write_captions(tmp_path / "captions.pickle", protocol=protocol)
    assert read_vocabulary(path).words == WORDS


def test_a_captions_pickle_of_python_2_is_read(tmp_path):
    # [[[1]], [], {0: '<end>', 1: 'bird'}, {}] by Python 2's cPickle with protocol 2: its strings are bytes
    content = b"\x80\x02](]]K\x01aa]}(K\x00U\x05<end>K\x01U\x04birdu}e."
    (tmp_path / "captions.pickle").write_bytes(content)
    assert read_vocabulary(tmp_path / "captions.pickle").words == ("<end>", "bird")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "a list of four"),
        ([[], [], {0: "<end>", 2: "bird"}, {}], "without gaps"),
        ([[], [], {0: "<end>", 1: 7}, {}], "not every word is a text"),
        ([[], [], {0: "bird", 1: "<end>"}, {}], "starts with '<end>'"),
    ],
)
def test_another_pickle_is_no_vocabulary(content, reason, tmp_path):
    (tmp_path / "captions.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=reason):
        read_vocabulary(tmp_path / "captions.pickle")


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("no checkpoint at all")


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")


def cut(path):
    torch.save({"fc.weight": torch.zeros(99, 99)}, path)
    path.write_bytes(path.read_bytes()[:9000])


def a_tensor(path):
    torch.save(torch.zeros(3), path)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (empty, r"is empty \(0 bytes\)"),
        (text, "is no checkpoint of torch"),
        (other_zip, "is damaged or no checkpoint"),
        (cut, "is damaged or no checkpoint"),
        (a_tensor, "holds a Tensor, not tensors by name"),
        (lambda path: None, "cannot be read"),
        (lambda path: path.mkdir(), "cannot be read"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(write, reason, tmp_path):
    write(tmp_path / "netG.pth")
    with pytest.raises(DataError, match=rf"netG\.pth: {reason}"):
        PublicFile.read(tmp_path / "netG.pth")


def test_numbers_that_are_not_finite_are_refused(imported_damsm, tmp_path):
    state = public.random_state(public.dfgan_generator_shapes(4, TEXT_DIM, 32))
    state["fc.bias"][3] = torch.nan
    torch.save(state, tmp_path / "netG.pth")
    with pytest.raises(DataError, match=r"NaN or infinite numbers in fc\.bias"):
        import_dfgan(tmp_path / "netG.pth", imported_damsm, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_tensors_of_another_model_are_refused_with_what_there_is(imported_damsm, tmp_path):
    torch.save(public.random_state(public.dfgan_generator_shapes(4, TEXT_DIM, 32)), tmp_path / "netG.pth")
    with pytest.raises(
        DataError, match=r"no network in it has the tensor 'h_net1.fc.0.weight'; it has fc.weight"
    ):
        import_ffgan(tmp_path / "netG.pth", imported_damsm, tmp_path / "model")


def test_another_size_is_refused_with_the_first_differences(imported_damsm, tmp_path):
    state = public.random_state(public.ffgan_generator_shapes(4, TEXT_DIM, stages=3, blocks=3))
    del state["img_net1.img.0.weight"]
    torch.save(state, tmp_path / "netG.pth")
    overrides = ("model.generator_width=8", f"model.text_dim={TEXT_DIM}")
    with pytest.raises(DataError) as caught:
        import_ffgan(tmp_path / "netG.pth", imported_damsm, tmp_path / "model", overrides=overrides)
    message = str(caught.value)
    assert "missing: heads.0.conv.weight" in message
    assert "unexpected: h_net2.residual.2.block.0.weight" in message
    assert "other shapes: h_net1.fc.0.weight [2048, 200] instead of [4096, 200]" in message
    assert "--recipe" in caught.value.hint


def test_a_vocabulary_of_another_size_is_refused(attngan_files, tmp_path):
    folder, _, _ = attngan_files
    captions = write_captions(tmp_path / "captions.pickle", WORDS[:5])
    with pytest.raises(DataError, match=r"captions\.pickle: has 5 entries, the text encoder .* 8"):
        import_damsm(
            folder / "text_encoder200.pth", folder / "image_encoder200.pth", captions, tmp_path / "encoder"
        )


def test_a_folder_that_holds_something_is_kept(imported_damsm, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    torch.save(public.random_state(public.dfgan_generator_shapes(4, TEXT_DIM, 32)), tmp_path / "netG.pth")
    arguments = (tmp_path / "netG.pth", imported_damsm, tmp_path / "model")
    overrides = ("model.generator_width=4", "model.size=32")
    with pytest.raises(UsageError, match="is not empty"):
        import_dfgan(*arguments, overrides=overrides)
    import_dfgan(*arguments, overrides=overrides, overwrite=True)
    assert (tmp_path / "model" / "mine.txt").read_text() == "mine"


def test_safetensors_and_half_precision_are_read(tmp_path):
    from safetensors.torch import save_file

    save_file({"fc.weight": torch.ones(2, 3, dtype=torch.float16)}, tmp_path / "netG.safetensors")
    state = PublicFile.read(tmp_path / "netG.safetensors").state_with("fc.weight")
    assert torch.equal(state["fc.weight"], torch.ones(2, 3))


def test_a_published_file_is_known_by_its_content(tmp_path, monkeypatch):
    file = tmp_path / "renamed.bin"
    file.write_bytes(b"weights")
    from gancli.hashes import file_hash

    monkeypatch.setitem(
        WEIGHTS, "mine", WeightFile("mine-1.pth", "https://example.org", file_hash(file), "mine")
    )
    assert import_weights(file) == {"mine": home() / "weights" / "mine-1.pth"}
    assert (home() / "weights" / "mine-1.pth").read_bytes() == b"weights"
    file.write_bytes(b"others")
    with pytest.raises(DataError, match=r"renamed\.bin: is none of the published files"):
        import_weights([file])
    assert file.exists()


def test_another_inception_scores_under_its_own_name(tmp_path):
    from gancli.scores.inception import build_fid_inception

    torch.manual_seed(0)
    torch.save(build_fid_inception().state_dict(), tmp_path / "port.pth")
    import_inception(tmp_path / "port.pth", tmp_path / "port")
    network = load_features(f"inception:{tmp_path / 'port'}")
    assert network.name == f"inception:{tmp_path / 'port'}"
    assert network.sha256 != WEIGHTS["fid_inception"].sha256
    assert network.dim == 2048
