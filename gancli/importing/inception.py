"""Inception networks of Fréchet distances whose weights are not the published ones."""

from __future__ import annotations

from pathlib import Path

from gancli.errors import DataError
from gancli.importing.naming import Layout
from gancli.importing.origin import Imported, refuse_existing
from gancli.importing.reading import PublicFile
from gancli.scores.inception import build_fid_inception
from gancli.version import __version__
from gancli.weights import WEIGHTS
from gancli.weights_folder import write_folder

# Some files hold the auxiliary classifier of the training, which no distance uses
LAYOUT = Layout(
    "the Inception network of Fréchet distances", "Conv2d_1a_3x3.conv.weight", (), dead=r"AuxLogits\..*"
)


def import_inception(file: str | Path, out: str | Path, *, overwrite: bool = False) -> Imported:
    """Write a folder for `score fid --features inception:DIR` from an Inception network of the published architecture.

    Every row that it scores names the folder and the sha256 of its weights, and stands beside no published number.

    Args:
        file: File with the tensors under pytorch-fid's names.
        out: Folder to write.
        overwrite: Replace what is in the folder.

    Raises:
        DataError: The file is missing, damaged, holds another network, or is the published one.
        UsageError: The folder is not empty.
    """
    out = Path(out)
    refuse_existing(out, overwrite=overwrite)
    public = PublicFile.read(file)
    published = WEIGHTS["fid_inception"]
    if public.sha256 == published.sha256:
        raise DataError(
            f"{public.path}: is the published network itself",
            f"gancli import weights {public.path} puts it where --features inception finds it.",
        )
    network = build_fid_inception()
    dropped = LAYOUT.load(network, public.state_with(LAYOUT.key), public.path)
    settings = {
        "kind": "inception",
        "gancli": __version__,
        "imported": {
            "code": "pytorch-fid",
            "files": [{"name": public.path.name, "sha256": public.sha256}],
            "dropped": dropped,
        },
    }
    write_folder(out, {"network": network}, None, settings)
    return Imported(out, (public,), tuple(dropped))
