"""The PyTorch port of Reed's character encoders (char_cnn_rnn_pytorch), with the weights of the Torch 7 files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gancli.config.load import load_recipe
from gancli.encoders.char_cnn_rnn import CharCnnRnn, Variant, save_char_cnn_rnn
from gancli.errors import DataError
from gancli.importing.naming import Layout
from gancli.importing.origin import Imported, origin, refuse_existing
from gancli.importing.reading import PublicFile

_COMMON = [(r"emb_proj\.(\w+)", r"head.\1")]
RECURRENT = Layout(
    "a character encoder with a plain recurrence",
    "conv1.weight",
    [
        *_COMMON,
        (r"rnn\.i2h\.(weight|bias)", r"rnn.\1_ih_l0"),
        (r"rnn\.h2h\.(weight|bias)", r"rnn.\1_hh_l0"),
    ],
)
GATED = Layout("a character encoder with a GRU", "conv1.weight", _COMMON)
_PARTS = ("_update", "_reset", "")  # of our layer `input`, and without the last of `gates`


def import_char_cnn_rnn(
    encoder: str | Path,
    out: str | Path,
    *,
    recipe: str | Path = "char-cnn-rnn/cub",
    overwrite: bool = False,
) -> Imported:
    """Write an encoder folder from a character encoder of the PyTorch port.

    The variant is that of its tensors: A, B with the public code's own GRU, or C. Characters outside the alphabet are
    blanks here and spaces in the port.

    Args:
        encoder: File with the tensors under the port's names, with points ("conv1.weight") or without ("conv1_weight").
        out: Folder to write.
        recipe: Recipe that names the dataset.
        overwrite: Replace what is in the folder.

    Raises:
        DataError: The file is missing, damaged or holds another network.
        UsageError: The folder is not empty.
    """
    out = Path(out)
    refuse_existing(out, overwrite=overwrite)
    described = load_recipe(recipe, kind="char-cnn-rnn")
    file = PublicFile.read(encoder)
    flat = file.has("conv1_weight")
    state = file.state_with("conv1_weight" if flat else RECURRENT.key)
    if flat:
        state = {_with_points(name): tensor for name, tensor in state.items()}
    gated = "rnn.i2h_update.weight" in state
    try:
        channels, hidden, dim = (len(state[f"{name}.bias"]) for name in ("conv1", "conv3", "emb_proj"))
    except KeyError as error:
        raise DataError(f"{file.path}: has no tensor {error}") from None
    variant: Variant = "B" if gated else "A" if 3 * hidden == 2 * channels else "C"
    if channels % 3:
        raise DataError(f"{file.path}: its first convolution has {channels} channels, not a multiple of 3")
    arguments: dict[str, object] = {"variant": variant, "dim": dim, "width": channels, "gru_impl": "reed"}
    network = CharCnnRnn(**arguments)  # type: ignore[arg-type]
    layout = GATED if gated else RECURRENT
    layout.load(network, _joined_gates(state, file.path) if gated else state, file.path)
    settings = {**origin(described, "char_cnn_rnn_pytorch", [file], ()), "text": arguments}
    save_char_cnn_rnn(out, network, settings)
    return Imported(out, (file,))


def _with_points(name: str) -> str:
    """Return a name of the port's flat files as its modules have it ("rnn_i2h_weight" as "rnn.i2h.weight")."""
    module, _, kind = name.rpartition("_")
    return f"{module.replace('rnn_', 'rnn.', 1)}.{kind}"


def _joined_gates(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Join the port's linear layers of each gate to those of `ReedGRU`.

    Raises:
        DataError: A gate is missing.
    """
    try:
        joined = {
            f"rnn.{ours}.{kind}": torch.cat([state[f"rnn.{public}{part}.{kind}"] for part in parts])
            for kind in ("weight", "bias")
            for ours, public, parts in (
                ("input", "i2h", _PARTS),
                ("gates", "h2h", _PARTS[:2]),
                ("candidate", "h2h", _PARTS[2:]),
            )
        }
    except KeyError as error:
        raise DataError(f"{path}: has no tensor {error}") from None
    return {name: tensor for name, tensor in state.items() if not name.startswith("rnn.")} | joined
