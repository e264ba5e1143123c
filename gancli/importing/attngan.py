"""The DAMSM encoders of AttnGAN's code, which DM-GAN, DF-GAN and FF-GAN use too."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from gancli.config.damsm import DamsmRecipe
from gancli.config.load import load_recipe
from gancli.encoders.backbones import ChildrenBackbone
from gancli.encoders.damsm import ImageEncoder, TextEncoder, save_damsm
from gancli.errors import DataError
from gancli.importing.naming import Layout
from gancli.importing.origin import Imported, origin, refuse_existing
from gancli.importing.reading import PublicFile
from gancli.importing.vocabulary import read_vocabulary

TEXT = Layout(
    "DAMSM's text encoder",
    "encoder.weight",
    ((r"encoder\.weight", "embedding.weight"),),
)


def image_layout(backbone: ChildrenBackbone) -> Layout:
    """Return the layout of the image encoder, which holds the children of torchvision's Inception-v3 by their names."""
    numbered = [("lower", number) for number in range(len(backbone.lower))]
    numbered += [("upper", number) for number in range(len(backbone.upper))]
    rules = [
        (rf"{name}\.(.*)", rf"backbone.{part}.{number}.\1")
        for name, (part, number) in zip(backbone.names, numbered, strict=True)
    ]
    rules += [(r"emb_features\.weight", "local.weight"), (r"emb_cnn_code\.(.*)", r"code.\1")]
    return Layout("DAMSM's image encoder", "emb_cnn_code.weight", rules)


def import_damsm(
    text: str | Path,
    image: str | Path,
    captions: str | Path,
    out: str | Path,
    *,
    recipe: str | Path = "damsm/cub",
    overwrite: bool = False,
) -> Imported:
    """Write an encoder folder from a public pair of DAMSM encoders.

    Args:
        text: Text encoder, LSTM or GRU ("text_encoder200.pth"). Its widths are those of its tensors.
        image: Image encoder ("image_encoder200.pth"), on Inception-v3.
        captions: captions.pickle that numbered the words, or a vocabulary.json.
        out: Folder to write.
        recipe: Recipe of the dataset and the number of words that are read.
        overwrite: Replace what is in the folder.

    Raises:
        DataError: A file is missing, damaged or holds other networks, or the vocabulary has another size.
        UsageError: The folder is not empty.
    """
    out = Path(out)
    refuse_existing(out, overwrite=overwrite)
    settings = load_recipe(recipe, kind="damsm")
    assert isinstance(settings, DamsmRecipe)
    vocabulary = read_vocabulary(captions)
    files = PublicFile.read(text), PublicFile.read(image)
    text_state, image_state = files[0].state_with(TEXT.key), files[1].state_with("emb_cnn_code.weight")
    entries = len(text_state["encoder.weight"])
    if entries != len(vocabulary):
        raise DataError(
            f"{captions}: has {len(vocabulary):,} entries, the text encoder {files[0].path} {entries:,}",
            "Name the captions.pickle that the encoder was trained with.",
        )
    text_arguments = _text_arguments(text_state, files[0].path)
    image_arguments: dict[str, object] = {
        "backbone": "inception_v3",
        "dim": len(image_state["emb_cnn_code.weight"]),
        "frozen_backbone": True,
    }
    text_encoder = TextEncoder(entries, **text_arguments)  # type: ignore[arg-type]
    image_encoder = ImageEncoder(**image_arguments)  # type: ignore[arg-type]
    assert isinstance(image_encoder.backbone, ChildrenBackbone)
    TEXT.load(text_encoder, text_state, files[0].path)
    image_layout(image_encoder.backbone).load(image_encoder, image_state, files[1].path)
    save_damsm(
        out,
        text_encoder,
        image_encoder,
        vocabulary,
        {
            **origin(settings, "AttnGAN", files, ()),
            "words": settings.loader.words,
            "text": text_arguments,
            "image": image_arguments,
        },
    )
    return Imported(out, files)


def _text_arguments(state: dict[str, Tensor], path: Path) -> dict[str, object]:
    """Return the arguments of a text encoder from the shapes of its tensors.

    Raises:
        DataError: It has no recurrent layer of known kind.
    """
    try:
        gates, half = state["rnn.weight_hh_l0"].shape
    except (KeyError, ValueError):
        raise DataError(f"{path}: has no recurrent layer `rnn`") from None
    kinds: dict[int, Literal["lstm", "gru"]] = {4: "lstm", 3: "gru"}
    if gates % half or gates // half not in kinds:
        raise DataError(f"{path}: its recurrent layer is neither LSTM nor GRU: {gates} rows for {half} units")
    return {
        "dim": 2 * half,
        "embedding_dim": state["encoder.weight"].shape[1],
        "rnn": kinds[gates // half],
    }
