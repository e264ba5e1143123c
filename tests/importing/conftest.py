"""Public files for the tests: random tensors in the layouts of public codes."""

from __future__ import annotations

import pickle

import pytest
import torch
from torchvision.models import inception_v3

from gancli.importing.attngan import import_damsm
from tests.importing import public

TEXT_DIM = 16
WORDS = (
    "<end>",
    "wings",
    "bird",
    "a",
    "red",
    "small",
    "this",
    "white",
)  # in another order than ours would be


def image_encoder_state(dim: int = TEXT_DIM) -> public.State:
    """Return Inception-v3 as AttnGAN's image encoder holds it, with random weights."""
    torch.manual_seed(0)
    network = inception_v3(weights=None, transform_input=False, init_weights=False, aux_logits=False)
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    shapes = {
        "emb_features.weight": (dim, 768, 1, 1),
        "emb_cnn_code.weight": (dim, 2048),
        "emb_cnn_code.bias": (dim,),
    }
    return state | public.random_state(shapes)


def write_captions(path, words=WORDS, protocol=2):
    """Write AttnGAN's captions.pickle."""
    numbered = dict(enumerate(words))
    content = [[[3, 4, 2]], [[6, 2]], numbered, {word: number for number, word in numbered.items()}]
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.fixture(scope="session")
def attngan_files(tmp_path_factory):
    """Text encoder, image encoder and captions.pickle of one public encoder, and the states."""
    folder = tmp_path_factory.mktemp("attngan")
    text = public.random_state(public.damsm_text_shapes(len(WORDS), TEXT_DIM, gates=4), seed=1)
    image = image_encoder_state()
    torch.save(text, folder / "text_encoder200.pth")
    # As torch before 1.6 saved it, and as DataParallel names it
    torch.save(
        {f"module.{name}": tensor for name, tensor in image.items()},
        folder / "image_encoder200.pth",
        _use_new_zipfile_serialization=False,
    )
    write_captions(folder / "captions.pickle")
    return folder, text, image


@pytest.fixture(scope="session")
def imported_damsm(attngan_files, tmp_path_factory):
    """Encoder folder imported from `attngan_files`."""
    folder, _, _ = attngan_files
    out = tmp_path_factory.mktemp("encoders") / "attngan"
    files = (folder / name for name in ("text_encoder200.pth", "image_encoder200.pth", "captions.pickle"))
    import_damsm(*files, out)
    return out
