"""gancli: conditional image synthesis from raw data to scored images, as one command line and one library.

Every subcommand has a library function of the same name that a notebook can call::

    import gancli

    run = gancli.train(gancli.load_recipe("ffgan/demo", ["data=data/demo"]), runs=Path("runs"))

They are imported when first used, so that ``import gancli`` loads neither torch nor h5py.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"

# name -> module that defines it
_FUNCTIONS = {
    "agreement_rows": "gancli.scores.agreement",
    "contact_sheet": "gancli.data.inspect",
    "export_embeddings": "gancli.encoders.embeddings",
    "inpaint": "gancli.inpainting.inpaint",
    "inpaint_split": "gancli.inpainting.inpaint_split",
    "load_recipe": "gancli.config",
    "merge_parts": "gancli.data.preparation.merge",
    "prepare": "gancli.data.preparation.prepare",
    "pretrain_encoder": "gancli.training",
    "preview_holes": "gancli.inpainting.inpaint",
    "sample": "gancli.sampling.sample",
    "sample_attributes": "gancli.sampling.attributes",
    "score_cost": "gancli.scores.cost",
    "score_fid": "gancli.scores.fid",
    "score_is": "gancli.scores.inception_score",
    "score_map": "gancli.scores.image_retrieval",
    "score_psnr": "gancli.scores.reconstruction",
    "score_r_precision": "gancli.scores.r_precision",
    "score_recall": "gancli.scores.image_retrieval",
    "score_ssim": "gancli.scores.reconstruction",
    "table": "gancli.scores.tables",
    "train": "gancli.training",
    "verify": "gancli.data.verify",
}

__all__ = ["__version__", *_FUNCTIONS]


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module 'gancli' has no attribute {name!r}")
    return getattr(import_module(_FUNCTIONS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_FUNCTIONS])
