"""Networks that look at images, for features or for classes, each with a name, a hash and its resize rule.

A Fréchet distance or an Inception score means nothing without these three, so no score is computed without them.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gancli.atomic import atomic_file
from gancli.encoders.backbones import IMAGENET_MEAN, IMAGENET_STD, BackboneName
from gancli.encoders.classifier import ClassifierFolder, load_classifier
from gancli.encoders.damsm import Damsm, load_damsm
from gancli.engine import distributed
from gancli.errors import DataError, RunError, UsageError
from gancli.progress import Progress
from gancli.run_paths import weights_folder_of
from gancli.scores.across_ranks import by_parts
from gancli.scores.results import NetworkFields
from gancli.weights import home, load_weights
from gancli.weights_folder import read_folder, read_settings

if TYPE_CHECKING:
    from gancli.scores.image_sets import FileImages, Images, SplitImages

Pixels = NDArray[np.uint8]
_RESIZE = "bilinear to {side}x{side}, antialiased where it shrinks"  # for networks trained by gancli


@dataclass(frozen=True)
class FeatureNetwork:
    """A network in eval mode with the preparation of its input.

    Attributes:
        name: Name in score rows ("inception", "encoder:runs/damsm (small)", "classifier:runs/birds (small)").
        sha256: sha256 of its weights file.
        dim: Length F of a feature vector, or number of classes.
        resize: Preparation of the input in words, for score rows.
        prepare: Function from (B, 3, H, W) float32 in [0, 255] to the network's input, of one side whatever H and W
            are.
        network: Function from that input to (B, F).
        device: Device of both.
        class_names: Names of the classes, where it is a classifier of gancli and gives logits.
        kind: "inception", "imagenet", "damsm", "classifier" or "pixels".
        output: "features", "logits" or "code".
        backbone: Architecture.
        transform: Short name of the preparation.
        accuracy: Held-out images that an encoder of gancli got right, in per cent; None where it does not say.
        chance: Share that guessing would have reached.
    """

    name: str
    sha256: str
    dim: int
    resize: str
    prepare: Callable[[Tensor], Tensor]
    network: Callable[[Tensor], Tensor]
    device: torch.device
    class_names: tuple[str, ...] = ()
    kind: str = ""
    output: str = "features"
    backbone: str = ""
    transform: str = ""
    accuracy: float | None = None
    chance: float | None = None

    @property
    def fields(self) -> NetworkFields:
        """The network as a score row names it."""
        return NetworkFields(
            network=self.name,
            network_kind=self.kind,
            network_output=self.output,
            backbone=self.backbone,
            network_sha256=self.sha256,
            transform=self.transform,
            resize=self.resize,
            encoder_accuracy=self.accuracy,
            encoder_chance=self.chance,
        )

    @torch.no_grad()
    def __call__(self, images: Sequence[Pixels]) -> Tensor:
        """Features, or logits, of a batch.

        Args:
            images: B arrays (H, W, 3) uint8 RGB. Their sizes may differ: each is resized on its own.

        Returns:
            (B, F) float32 on the CPU, in the order of the images.
        """
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(index)
        inputs = []
        for indices in by_shape.values():
            same = torch.from_numpy(np.stack([images[index] for index in indices]))  # (b, H, W, 3)
            inputs.append(self.prepare(same.to(self.device).permute(0, 3, 1, 2).float()))
        order = [index for indices in by_shape.values() for index in indices]
        batch = torch.cat(inputs)[np.argsort(order)]  # (B, 3, S, S)
        return self.network(batch.contiguous(memory_format=torch.channels_last)).float().cpu()


def all_features(
    images: Images,
    network: FeatureNetwork,
    *,
    batch: int = 50,
    cache: bool = False,
    progress: Progress | None = None,
) -> Tensor:
    """Return the features of all images, of which there is one at least, (N, F) float32 on the CPU.

    They take 4 F bytes an image: 8 KB for the 2,048 features of an Inception network.

    Args:
        images: Images.
        network: Network.
        batch: Images at a time.
        cache: Keep the features in gancli's own folder under the hash of the images' contents and of the network, and
            take them from there the next time.
        progress: Callback after each batch with images done and in all.
    """

    def work(rows: slice) -> Iterator[Tensor]:
        return map(network, images.part(rows).batches(batch))

    # Process 0 looks for all, because they have to agree on whether to go through the images
    path = distributed.from_main(partial(_cache_file, images, network)) if cache else None
    kept = (
        None
        if path is None
        else distributed.from_main(partial(_kept_features, path, len(images), network.dim))
    )
    if kept is not None:
        return kept
    features = torch.cat(by_parts(len(images), batch, work, progress))
    if path is not None:
        distributed.from_main(partial(_keep_features, path, features))
    return features


def some_features(
    images: SplitImages | FileImages,
    rows: NDArray[np.int64],
    network: FeatureNetwork,
    *,
    batch: int = 50,
    cache: bool = False,
    progress: Progress | None = None,
) -> Tensor:
    """Return the features of some of the images, (len(rows), F).

    With `cache`, half of the images or more are taken from the features of all, which other metrics need too.

    Args:
        images: Images.
        rows: Numbers of the wanted images, in order.
        network: Network.
        batch: Images at a time.
        cache: Keep the features for the next time, see `all_features`.
        progress: Callback after each batch with images done and in all.
    """
    if cache and 2 * len(rows) >= len(images):
        return all_features(images, network, batch=batch, cache=True, progress=progress)[
            torch.from_numpy(rows)
        ]
    return all_features(images.only(rows.tolist()), network, batch=batch, cache=cache, progress=progress)


CACHE_LIMIT = 4 << 30  # bytes of kept features; the oldest go first


def _cache_file(images: Images, network: FeatureNetwork) -> Path:
    key = "\0".join((images.fingerprint, network.sha256, network.resize, network.output, str(network.dim)))
    return home() / "features" / f"{hashlib.sha256(key.encode()).hexdigest()}.npy"


def _kept_features(path: Path, count: int, dim: int) -> Tensor | None:
    """Return the features in a file of the cache; None where there is none, or a broken one, which is replaced."""
    try:
        kept = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(kept) if (kept.shape, kept.dtype) == ((count, dim), np.float32) else None


def _keep_features(path: Path, features: Tensor) -> None:
    # A full or read-only home must not stop the score
    with contextlib.suppress(OSError, RunError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, features.numpy(), allow_pickle=False)
        by_age = sorted(path.parent.glob("*.npy"), key=lambda each: each.stat().st_mtime)
        excess = sum(each.stat().st_size for each in by_age) - CACHE_LIMIT
        for each in by_age[:-1]:
            if excess > 0:
                excess -= each.stat().st_size
                each.unlink()


def load_features(
    name: FeatureNetwork | str, *, weights: str | Path | None = None, device: str | torch.device = "cpu"
) -> FeatureNetwork:
    """Load a feature network by name.

    Args:
        name: "inception", the network of published FIDs behind pytorch-fid's preparation, or "inception:DIR" with the
            weights of a folder of `gancli import inception`; "clean" and "tf", the same network behind those of
            clean-fid and of TensorFlow; "dmgan", torchvision's Inception-v3 behind DM-GAN's script, which AttnGAN's
            family reports; "imagenet", torchvision's Inception-v3, whose last average pooling gives the features of
            published mAP and R@k; "efficientnet_lite0" to 2, whose weights come as packages; or "encoder:DIR", a
            classifier or the image encoder of a DAMSM, whose distances compare models on one dataset
            but not with published numbers. A loaded network is returned as it is.
        weights: File or folder of the Inception weights; None for the places where `gancli.weights` looks.
        device: Device to run on.

    Raises:
        UsageError: There is no such network.
        DataError: Its weights are missing or broken.
    """
    if isinstance(name, FeatureNetwork):
        return name
    kind, _, folder = name.partition(":")
    if name == "imagenet":
        return _imagenet(weights, torch.device(device), "features")
    if name == "dmgan":
        return _imagenet(weights, torch.device(device), "features", _PREPARATIONS[name])
    if name in _PREPARATIONS:
        return _fid_inception(name, *load_weights("fid_inception", weights), torch.device(device))
    if kind == "inception" and folder:
        _, tensors, digest = read_folder(folder, "inception")
        state = {key.removeprefix("network."): tensor for key, tensor in tensors.items()}
        return _fid_inception("inception", state, digest, torch.device(device), folder=folder)
    if name in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        return _efficientnet(cast(BackboneName, name), weights, torch.device(device))
    if kind in ("encoder", "classifier") and folder:
        if read_settings(weights_folder_of(folder, ("damsm", "classifier")))["kind"] == "classifier":
            return classifier_network(load_classifier(Path(folder), device), "features")
        return encoder_network(load_damsm(Path(folder), device), "features")
    raise UsageError(
        f"{name!r} is not a feature network",
        "Use inception, clean, tf, dmgan, imagenet, efficientnet_lite1, encoder:DIR with a folder of gancli "
        "pretrain-encoder damsm or classifier, or inception:DIR with one of gancli import inception.",
    )


def load_logits(
    name: FeatureNetwork | str, *, weights: str | Path | None = None, device: str | torch.device = "cpu"
) -> FeatureNetwork:
    """Load a network that tells classes apart, by name. Its output are logits.

    Args:
        name: "classifier:DIR", a classifier of `gancli pretrain-encoder`; "imagenet", torchvision's Inception-v3 with
            its 1000 classes; or "inception", the network of published FIDs with the 1008 outputs of TensorFlow's graph.
            A loaded network is returned as it is.
        weights: File or folder of the weights of the last two; None for the places where `gancli.weights` looks.
        device: Device to run on.

    Raises:
        UsageError: There is no such network.
        DataError: Its weights are missing or broken, or the folder holds no classifier.
    """
    if isinstance(name, FeatureNetwork):
        return name
    kind, _, folder = name.partition(":")
    if name == "inception":
        return _fid_logits(weights, torch.device(device))
    if name == "imagenet":
        return _imagenet(weights, torch.device(device), "logits")
    if kind in ("classifier", "encoder") and folder:
        return classifier_network(load_classifier(Path(folder), device), "logits")
    raise UsageError(
        f"{name!r} is not a network that tells classes apart",
        "Use classifier:DIR with a folder of gancli pretrain-encoder classifier, imagenet or inception.",
    )


def _load_published(network: nn.Module, name: str, weights: str | Path | None) -> str:
    """Load published weights, whose sha256 is checked, and return that sha256."""
    state, digest = load_weights(name, weights)
    network.load_state_dict(state)
    return digest


@dataclass(frozen=True)
class _Preparation:
    """Preparation of the input of an Inception network, by one of the published scripts."""

    transform: str
    words: str
    prepare: Callable[[Tensor], Tensor]


def _fid_inception(
    name: str, state: Mapping[str, Tensor], digest: str, device: torch.device, folder: str = ""
) -> FeatureNetwork:
    """Return the Inception network of 2015 behind the preparation of a name in `_PREPARATIONS`.

    Args:
        name: Name of the preparation.
        state: Tensors of the network.
        digest: sha256 of the weights file.
        device: Device to run on.
        folder: Folder that weights other than the published ones come from.
    """
    from gancli.scores.inception import DIM, build_fid_inception, features_only

    preparation = _PREPARATIONS[name]
    network = build_fid_inception()
    network.load_state_dict(state)
    features_only(network).to(device)
    published = "inception" if name == "inception" else f"inception ({name})"
    return FeatureNetwork(
        name=f"inception:{folder}" if folder else published,
        sha256=digest,
        dim=DIM,
        resize=preparation.words,
        prepare=preparation.prepare,
        network=network,
        device=device,
        kind="inception",
        backbone="inception_v3",
        transform=preparation.transform,
    )


def _as_pytorch_fid(images: Tensor) -> Tensor:
    return 2 * F.interpolate(images / 255, size=(299, 299), mode="bilinear", align_corners=False) - 1


def _as_tensorflow(images: Tensor) -> Tensor:
    from gancli.scores.inception import SIDE, tf1_bilinear

    return (tf1_bilinear(images, SIDE) - 128) / 128


def _as_clean_fid(images: Tensor) -> Tensor:
    """Resize each channel on its own in floating point, bicubic and antialiased (Parmar et al., 2022)."""
    channels = images.cpu().numpy().reshape(-1, *images.shape[2:])  # (B * 3, H, W)
    resized = [Image.fromarray(each).resize((299, 299), Image.Resampling.BICUBIC) for each in channels]
    pixels = torch.from_numpy(np.stack([np.asarray(each) for each in resized])).clamp(0, 255)
    return (pixels.view(-1, 3, 299, 299).to(images.device) - 128) / 128


def _as_dmgan(images: Tensor) -> Tensor:
    """Resize like Pillow to whole numbers, then transform [0, 1] as if it were normalised for ImageNet."""
    pixels = images.byte().permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, 3)
    resized = [Image.fromarray(each).resize((299, 299), Image.Resampling.BILINEAR) for each in pixels]
    unit = torch.from_numpy(np.stack([np.asarray(each) for each in resized])).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    return (unit * std / 0.5 + (mean - 0.5) / 0.5).to(images.device)


_PREPARATIONS = {
    "inception": _Preparation(
        "pytorch-fid",
        "bilinear without antialiasing to 299x299, aspect ignored (as pytorch-fid)",
        _as_pytorch_fid,
    ),
    "clean": _Preparation(
        "clean",
        "bicubic, antialiased, in floating point to 299x299, aspect ignored (as clean-fid)",
        _as_clean_fid,
    ),
    "tf": _Preparation(
        "tensorflow1",
        "bilinear as TensorFlow 1 to 299x299, aspect ignored; (x - 128) / 128 (as torch-fidelity)",
        _as_tensorflow,
    ),
    "dmgan": _Preparation(
        "dmgan",
        "bilinear, antialiased, in whole numbers to 299x299, aspect ignored; [0, 1] transformed as if it were "
        "normalised for ImageNet (as DM-GAN's script)",
        _as_dmgan,
    ),
}


def _efficientnet(name: BackboneName, weights: str | Path | None, device: torch.device) -> FeatureNetwork:
    """Return an EfficientNet-Lite with ImageNet weights, at the side that it was trained at."""
    from gancli.encoders.efficientnet_lite import LITE_SIDES
    from gancli.encoders.image_features import frozen_imagenet

    side = next(side for each, side in LITE_SIDES.items() if each == name)
    frozen = frozen_imagenet(name, device, weights, size=side)
    return FeatureNetwork(
        name=frozen.name,
        sha256=frozen.hash,
        dim=frozen.dim,
        resize=_RESIZE.format(side=side),
        prepare=partial(_to_side, side=side),
        network=frozen.network,
        device=device,
        kind="imagenet",
        backbone=name,
        transform="antialiased",
    )


def _fid_logits(weights: str | Path | None, device: torch.device) -> FeatureNetwork:
    from gancli.scores.inception import CLASSES, build_fid_inception, without_bias

    network = build_fid_inception()
    digest = _load_published(network, "fid_inception", weights)
    without_bias(network).to(device)
    return FeatureNetwork(
        name=f"inception ({CLASSES} classes)",
        sha256=digest,
        dim=CLASSES,
        resize=_PREPARATIONS["tf"].words,
        prepare=_as_tensorflow,
        network=network,
        device=device,
        kind="inception",
        output="logits",
        backbone="inception_v3",
        transform="tensorflow1",
    )


def _imagenet(
    weights: str | Path | None,
    device: torch.device,
    output: Literal["features", "logits"],
    preparation: _Preparation | None = None,
) -> FeatureNetwork:
    """Return torchvision's Inception-v3 with ImageNet weights; without a preparation, images are scaled to [-1, 1]."""
    from torchvision.models import inception_v3

    from gancli.scores.inception import frozen

    network = inception_v3(weights=None, transform_input=False, init_weights=False)
    digest = _load_published(network, "inception_v3", weights)
    dim, what = network.fc.out_features, f"{network.fc.out_features} classes"
    if output == "features":
        dim, what = network.fc.in_features, f"{network.fc.in_features} features"
        network.fc = nn.Identity()
    frozen(network).to(device)
    preparation = preparation or _Preparation(
        "torchvision", "bilinear without antialiasing to 299x299, aspect ignored", _as_pytorch_fid
    )
    return FeatureNetwork(
        name=f"{'dmgan' if preparation.transform == 'dmgan' else 'imagenet'} (inception_v3, {what})",
        sha256=digest,
        dim=dim,
        resize=preparation.words,
        prepare=preparation.prepare,
        network=network,
        device=device,
        kind="imagenet",
        output=output,
        backbone="inception_v3",
        transform=preparation.transform,
    )


def _learned(settings: Mapping[str, Any], folder: Path) -> tuple[float | None, float | None]:
    """Return an encoder's accuracy on held-out images and its chance in per cent, as its folder says; None for unknown.

    An encoder counts as no better than chance within three standard deviations of guessing. Its features hardly tell
    images apart, so that any distance by them is near zero.

    Raises:
        DataError: It is no better than chance.
    """
    accuracy, chance, count = (settings.get(name) for name in ("accuracy", "chance", "held_out"))
    if accuracy is None or chance is None or not count:
        return None, None
    limit = chance + 3 * math.sqrt(chance * (100 - chance) / count)
    limit = min(
        limit, (chance + 100) / 2
    )  # a few images alone do not condemn a network that gets all of them right
    if accuracy <= limit:
        raise DataError(
            f"{folder}: gets {accuracy:.3g} % of {count:,} held-out images right, guessing {chance:.3g} %: a number by "
            f"it is no score (it would need more than {limit:.3g} %)",
            "Train it for longer, on more classes, or name another network.",
        )
    return float(accuracy), float(chance)


def classifier_network(classifier: ClassifierFolder, output: Literal["features", "logits"]) -> FeatureNetwork:
    """Return a classifier in eval mode as a feature network, on the device it is on.

    Its output are the backbone's pooled features (Fréchet distances), or the logits of its classes.
    """
    network = classifier.network
    side = network.backbone.size
    logits = output == "logits"
    accuracy, chance = _learned(classifier.settings, classifier.folder)
    backbone = str(classifier.settings["classifier"]["backbone"])
    return FeatureNetwork(
        name=f"classifier:{classifier.folder} ({backbone})",
        sha256=classifier.hash,
        dim=len(classifier.class_names) if logits else network.backbone.global_channels,
        resize=_RESIZE.format(side=side),
        prepare=partial(_to_side, side=side),
        network=network if logits else network.features,
        device=network.head.weight.device,
        class_names=classifier.class_names if logits else (),
        kind="classifier",
        output=output,
        backbone=backbone,
        transform="antialiased",
        accuracy=accuracy,
        chance=chance,
    )


def encoder_network(encoder: Damsm, output: Literal["features", "code"]) -> FeatureNetwork:
    """Return the image encoder of a DAMSM in eval mode as a feature network, on the device it is on.

    Its output are the backbone's pooled features (Fréchet distances), or the projected global code that shares a space
    with sentences (R-precision).
    """
    image = encoder.image
    accuracy, chance = _learned(encoder.settings, encoder.folder)
    side = image.backbone.size
    backbone = str(encoder.settings["image"]["backbone"])
    return FeatureNetwork(
        name=f"encoder:{encoder.folder} ({backbone})",
        sha256=encoder.hash,
        dim=image.backbone.global_channels if output == "features" else image.code.out_features,
        resize=_RESIZE.format(side=side),
        prepare=partial(_to_side, side=side),
        network=image.features if output == "features" else lambda images: image(images)[1],
        device=image.code.weight.device,
        kind="damsm",
        output=output,
        backbone=backbone,
        transform="antialiased",
        accuracy=accuracy,
        chance=chance,
    )


def _to_side(images: Tensor, side: int) -> Tensor:
    """Resize (B, 3, H, W) in [0, 255] to (B, 3, side, side) in [-1, 1], as gancli's networks see them in training."""
    images = images / 127.5 - 1
    if images.shape[2:] == (side, side):
        return images
    if min(images.shape[2:]) >= side:  # as the loader shrinks images
        return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    # as the backbone itself enlarges small images
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=True)
