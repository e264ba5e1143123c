"""Export of a model to one file, checked against PyTorch before it is kept."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from gancli.atomic import atomic_file
from gancli.errors import RunError, UsageError, check_least
from gancli.exporting.networks import BATCH, FRAMES, SHORTEST_CLIP, WORDS, Exportable, exportable
from gancli.hashes import file_hash
from gancli.inference.csfgan import Inpainter, load_inpainter
from gancli.inference.load import load_model
from gancli.inference.loaded import LoadedModel
from gancli.models.stackgan import TRUNCATION
from gancli.registry import FILLING, MODELS
from gancli.run_paths import weights_folder_of
from gancli.version import __version__
from gancli.weights_folder import read_settings

Format = Literal["onnx", "torchscript", "safetensors"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}
OPSET = 17  # of ONNX; runtimes since 2022 have it
# Largest mean difference of a channel in [-1, 1] from PyTorch's, a hundredth of a grey level. The mean decides, because
# an untrained network may amplify the rounding of a single pixel a thousand times.
LARGEST_MEAN = 1e-4
# Lengths of the open sides: those that the network is traced with, and others for the test
_TRACED = {BATCH: 2, WORDS: 5, FRAMES: SHORTEST_CLIP + 24}
_TESTED = ({BATCH: 1, WORDS: 3, FRAMES: SHORTEST_CLIP + 5}, {BATCH: 3, WORDS: 9, FRAMES: SHORTEST_CLIP + 50})
_EXPORT_PACKAGES = {"onnx": ("onnx", "onnxruntime"), "torchscript": (), "safetensors": ()}


@dataclass(frozen=True)
class Exported:
    """Files of an export.

    Attributes:
        file: Exported file.
        description: JSON file beside it: inputs, outputs, vocabulary, origin.
        difference: Largest difference of a channel from PyTorch's, in [-1, 1]; None for a file of tensors alone.
    """

    file: Path
    description: Path
    difference: float | None


def export(
    model: str | Path,
    out: str | Path | None = None,
    *,
    format: Format = "onnx",
    opset: int = OPSET,
    overwrite: bool = False,
) -> Exported:
    """Write a model as one file from plain numbers and noise to images, with a JSON that describes it.

    The batch and the number of words or frames stay open. An ONNX or TorchScript file is run on inputs of other sizes
    than it was made with, and kept only if its images are those of PyTorch.

    Args:
        model: Model folder, run, checkpoint, or `latest`.
        out: File to write; None for the model's name in the current folder.
        format: "onnx", "torchscript", or "safetensors" for the tensors alone.
        opset: Version of ONNX's operators.
        overwrite: Replace an existing file.

    Raises:
        DataError: The model folder is broken or missing.
        RunError: The file's images differ from PyTorch's, or the runtime lacks an operator.
        UsageError: The format is unknown, a package is missing, the file exists, or the model cannot be exported.
    """
    if format not in get_args(Format):
        raise UsageError(f"format: received {format!r}, allowed: {', '.join(get_args(Format))}")
    check_least(opset=(opset, 13))
    folder = weights_folder_of(model, MODELS)
    file = Path(out) if out is not None else Path(_name(folder) + SUFFIXES[format])
    if file.exists() and not overwrite:
        raise UsageError(f"{file}: exists", "Name another file with --out, or say --overwrite.")
    if missing := [name for name in _EXPORT_PACKAGES[format] if find_spec(name) is None]:
        raise UsageError(
            f"format {format}: needs the packages {', '.join(missing)}",
            f"Install them: pip install {' '.join(missing)} (gancli's extra `export` has both).",
        )
    loaded: LoadedModel | Inpainter
    if read_settings(folder)["kind"] in FILLING:
        loaded = load_inpainter(folder)
    else:
        loaded = load_model(folder)
    wrapped = exportable(loaded)
    wrapped.network.eval().requires_grad_(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    difference: float | None = None
    with atomic_file(file) as temporary:
        if format == "safetensors":
            shutil.copyfile(folder / "weights.safetensors", temporary)
        else:
            run = _write_onnx if format == "onnx" else _write_torchscript
            tested = run(wrapped, temporary, opset)
            found = [_differences(images, wrapped.network(*inputs)) for inputs, images in tested]
            difference, mean = (max(each) for each in zip(*found, strict=True))
            if not mean <= LARGEST_MEAN:
                raise RunError(
                    f"{file}: not kept, its images differ from PyTorch's by {mean:.2g} in the mean"
                )
    description = file.with_suffix(".json")
    content = describe(loaded, wrapped, file, difference)
    with atomic_file(description) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return Exported(file, description, difference)


def _name(folder: Path) -> str:
    """Return a name for a file: the model folder's, or its run's."""
    name = folder.resolve().name
    return folder.resolve().parent.name if name in ("model", "model-best") else name


def describe(
    model: LoadedModel | Inpainter, wrapped: Exportable, file: Path, difference: float | None
) -> dict[str, object]:
    """Return the content of the JSON beside an exported file."""
    sides = (model.size,) if isinstance(model, Inpainter) else model.stages
    return {
        "gancli": __version__,
        "file": file.name,
        "sha256": file_hash(file),
        "model": model.method,
        "kind": model.settings["kind"],
        "dataset": dict(model.dataset),
        "weights_sha256": model.hash,
        "largest_difference_from_pytorch": difference,
        "inputs": [
            {
                "name": each.name,
                "shape": list(each.shape),
                "dtype": each.dtype,
                "values": each.values,
                "truncated_at": TRUNCATION if each.drawn == "truncated" else None,
            }
            for each in wrapped.inputs
        ],
        "outputs": [
            {
                "name": name,
                "shape": [BATCH, 3, side, side],
                "dtype": "float32",
                "values": "colours in [-1, 1]",
            }
            for name, side in zip(wrapped.outputs, sides, strict=True)
        ],
        "reading": dict(wrapped.reading),
    }


def _examples(wrapped: Exportable, sides: dict[str, int]) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    return tuple(each.example(sides, random) for each in wrapped.inputs)


def _differences(found: Sequence[Tensor], expected: Sequence[Tensor]) -> tuple[float, float]:
    """Return the largest difference of two lists of images, and the largest mean difference of an image size."""
    differences = [(a - b).abs() for a, b in zip(found, expected, strict=True)]
    return max(float(each.max()) for each in differences), max(float(each.mean()) for each in differences)


Tested = list[
    tuple[tuple[Tensor, ...], Sequence[Tensor]]
]  # inputs of other sizes than traced, and images of the file


@torch.no_grad()
def _write_onnx(wrapped: Exportable, file: Path, opset: int) -> Tested:
    """Write an ONNX file, and run it with onnxruntime."""
    import onnxruntime

    open_sides = {
        each.name: {place: side for place, side in enumerate(each.shape) if isinstance(side, str)}
        for each in wrapped.inputs
    }
    with _quietly():
        # The newer exporter (dynamo=True) unrolls recurrent layers to the length they were traced with
        torch.onnx.export(
            wrapped.network,
            _examples(wrapped, _TRACED),
            str(file),
            dynamo=False,
            opset_version=opset,
            input_names=[each.name for each in wrapped.inputs],
            output_names=list(wrapped.outputs),
            dynamic_axes={**open_sides, **{name: {0: BATCH} for name in wrapped.outputs}},
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each failure
        raise RunError(
            f"opset {opset}: this onnxruntime ({onnxruntime.__version__}) cannot run the file ({error})",
            f"Say --opset {OPSET}, or install a newer onnxruntime.",
        ) from error
    names = [each.name for each in wrapped.inputs]
    tested: Tested = []
    for sides in _TESTED:
        inputs = _examples(wrapped, sides)
        images = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
        tested.append((inputs, [torch.from_numpy(each) for each in images]))
    return tested


@torch.no_grad()
def _write_torchscript(wrapped: Exportable, file: Path, opset: int) -> Tested:
    """Write a TorchScript file, and run it."""
    with _quietly():
        traced = torch.jit.trace(wrapped.network, _examples(wrapped, _TRACED), check_trace=False)
        traced.save(str(file))
        loaded = torch.jit.load(str(file))
    examples = [_examples(wrapped, sides) for sides in _TESTED]
    return [(inputs, loaded(*inputs)) for inputs in examples]


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporters' warnings, which are about themselves; the result is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
