"""The model folder of attr2image: Stage I, Stage II or both, and the names of the attributes they know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gancli.data.attributes import contradictions, parse_attributes
from gancli.data.shards import Dataset
from gancli.errors import DataError, UsageError
from gancli.inference.loaded import NOISE, Ablation, Drawing, Provenance, check_provenance, freeze
from gancli.models.attr2image import ImageGenerator, ShapeGenerator, enlarge_shapes
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, reading_settings, write_folder

KIND = "attr2image"
CONDITION, SECOND_CONDITION = "condition_noise", "second_condition_noise"  # of Stage I, of Stage II


@dataclass(frozen=True)
class LoadedAttr2Image(Provenance):
    """attr2image as a `LoadedModel`; a caption is a text of attributes ("primary_color=red, size=small").

    Attributes:
        shape: Stage I; None where the folder holds Stage II alone.
        image: Stage II; None where the folder holds Stage I alone.
        names: Names of all attributes of the dataset it was trained on, in order.
        shape_columns: Positions of the attributes that Stage I knows.
        image_columns: Positions of the attributes that Stage II knows.
    """

    shape: ShapeGenerator | None
    image: ImageGenerator | None
    names: tuple[str, ...]
    shape_columns: tuple[int, ...]
    image_columns: tuple[int, ...]
    name: str = KIND

    @property
    def ablation(self) -> Ablation:
        if self.image is not None:
            found: Ablation = {} if self.shape is not None else {"stage": "image"}
            return {**found, "model.d_sees_shape": True} if self.settings.get("d_sees_shape") else found
        found = {"stage": "shape"}
        if not self.settings["shape"]["conditional"]:
            found["model.conditional"] = False
        discriminators = self.settings.get("discriminators", ())
        without = {"global": ("loss.global_weight", 0.0), "local": ("model.local", False)}
        return found | dict(entry for name, entry in without.items() if name not in discriminators)

    @property
    def paper_name(self) -> str:
        """attribute2shape, shape2image or, for both, attr2image, with differences from the paper's model (Fig. 2)."""
        found = self.ablation
        if found.get("stage") != "shape":
            name = "shape2image" if "stage" in found else "attr2image"
            return f"{name}, D sees the shape" if "model.d_sees_shape" in found else name
        name = "unconditional shapes" if "model.conditional" in found else "attribute2shape"
        keys = {"global": "loss.global_weight", "local": "model.local"}
        kept = [discriminator for discriminator, key in keys.items() if key not in found]
        return name if len(kept) == 2 else f"{name}, {' + '.join(kept) or 'no'} D"

    @property
    def stages(self) -> tuple[int, ...]:
        return tuple(part.size for part in (self.shape, self.image) if part is not None)

    @property
    def stage_names(self) -> tuple[str, ...]:
        return tuple(
            name for name, part in (("shape", self.shape), ("image", self.image)) if part is not None
        )

    @property
    def noise_dims(self) -> Mapping[str, int]:
        """Noises of Stage I come first: with the same seed its own model draws the same silhouettes."""
        dims: dict[str, int] = {}
        if self.shape is not None:
            dims |= {NOISE: self.shape.noise_dim, CONDITION: self.shape.condition_dim}
        if self.image is not None:
            dims[SECOND_CONDITION] = self.image.condition_dim
        return dims

    @property
    def words(self) -> int | None:
        return None

    def check(self, captions: Sequence[str]) -> list[str]:
        """Return warnings for a user: attributes of one bird that contradict each other.

        Raises:
            UsageError: A caption names an attribute that the model does not know.
        """
        return [
            f"{caption!r} contradicts itself: {'; '.join(found)}"
            for caption in dict.fromkeys(captions)
            if (found := contradictions(self.vector(caption), self.names))
        ]

    def vector(self, caption: str) -> NDArray[np.float32]:
        """Return a text of attributes as numbers, (A,).

        Raises:
            UsageError: It names an attribute that the model does not know.
        """
        return parse_attributes([caption], self.names) if caption else np.zeros(len(self.names), np.float32)

    def check_dataset(self, dataset: Dataset) -> None:
        """Refuse a dataset with other attributes than the model's.

        Raises:
            DataError: It has none, or other ones, or in another order.
        """
        if tuple(dataset.attribute_names) != self.names:
            raise DataError(
                f"{dataset.path}: has {len(dataset.attribute_names)} attributes, which are not the {len(self.names)} "
                f"of {self.folder}",
                "Name the dataset it was trained on, or one with the same attributes.txt.",
            )

    def with_shape(self, other: LoadedAttr2Image) -> LoadedAttr2Image:
        """Return this Stage II with the Stage I of another model.

        Raises:
            UsageError: That has none, or this has no Stage II.
            DataError: The two know different attributes.
        """
        if other.shape is None:
            raise UsageError(f"{other.folder}: holds no model of shapes", "Name a run of stage=shape.")
        if self.image is None:
            raise UsageError(f"{self.folder}: draws shapes itself", "Leave out --shape-model.")
        if other.names != self.names:
            raise DataError(f"{other.folder} and {self.folder} were trained on different attributes")
        return replace(self, shape=other.shape, shape_columns=other.shape_columns)

    def draw(self, captions: Sequence[str], noises: Mapping[str, Tensor]) -> Drawing:
        return self.draw_vectors(np.stack([self.vector(caption) for caption in captions]), noises)

    def draw_vectors(
        self, vectors: NDArray[np.float32], noises: Mapping[str, Tensor], shapes: Tensor | None = None
    ) -> Drawing:
        """Draw images of B sets of attributes, silhouettes first.

        Args:
            vectors: (B, A) in [0, 1].
            noises: (B, dim) for each of `noise_dims`; those of Stage I are not used where silhouettes are given.
            shapes: (B, 1, s, s) in [-1, 1] to draw on; None lets Stage I draw them.

        Returns:
            The silhouettes as grey images (B, 3, s, s), and the images where there is a Stage II.
        """
        silhouettes = self.draw_shapes(vectors, noises) if shapes is None else shapes
        grey = torch.where(silhouettes >= 0, 1.0, -1.0).expand(-1, 3, -1, -1)
        if self.image is None:
            return Drawing((grey,))
        return Drawing((grey, self.paint(silhouettes, vectors, noises)))

    @torch.no_grad()
    def draw_shapes(self, vectors: NDArray[np.float32], noises: Mapping[str, Tensor]) -> Tensor:
        """Draw Stage I's silhouettes (B, 1, s, s) in [-1, 1], the bird from 0 on, of attributes (B, A).

        Raises:
            UsageError: There is no Stage I.
        """
        if self.shape is None:
            raise UsageError(
                f"{self.folder}: holds a model of images without one of shapes",
                "Say --shape-model RUN with a run of stage=shape, or --shape FILE for a silhouette of your own.",
            )
        device = next(self.shape.parameters()).device
        attributes = torch.from_numpy(vectors[:, list(self.shape_columns)]).to(device)
        shapes: Tensor = self.shape(attributes, noises[NOISE].to(device), noises[CONDITION].to(device)).shapes
        return shapes

    @torch.no_grad()
    def paint(self, shapes: Tensor, vectors: NDArray[np.float32], noises: Mapping[str, Tensor]) -> Tensor:
        """Draw Stage II's images (B, 3, S, S) on silhouettes (B, 1, s, s), of attributes (B, A)."""
        assert self.image is not None
        device = next(self.image.parameters()).device
        attributes = torch.from_numpy(vectors[:, list(self.image_columns)]).to(device)
        enlarged = enlarge_shapes(shapes.to(device), self.image.size)
        images: Tensor = self.image(enlarged, attributes, noises[SECOND_CONDITION].to(device)).images
        return images


def save_attr2image(
    folder: Path, shape: nn.Module | None, image: nn.Module | None, settings: Mapping[str, object]
) -> None:
    """Write a model folder of attr2image.

    Args:
        folder: Folder to write.
        shape: Stage I with the weights to publish; None for a Stage II alone.
        image: Stage II with the weights to publish; None for a Stage I alone.
        settings: Content of config.yaml: `attribute_names`; of each stage its arguments (`shape`, `image`) and the
            positions of the attributes it knows (`shape_columns`, `image_columns`); and where the weights come from.
            `kind` is added here.
    """
    networks = {name: part for name, part in (("shape", shape), ("image", image)) if part is not None}
    write_folder(folder, networks, None, {"kind": KIND, **settings})


def load_attr2image(folder: str | Path, device: str | torch.device = "cpu") -> LoadedAttr2Image:
    """Load a model folder of attr2image, or a run's.

    Raises:
        DataError: The folder is incomplete, broken or holds something else.
    """
    folder = weights_folder_of(folder, (KIND,))
    settings, tensors, digest = read_folder(folder, KIND)
    with reading_settings(folder):
        check_provenance(settings)
        shape = ShapeGenerator(**settings["shape"]) if "shape" in settings else None
        image = ImageGenerator(**settings["image"]) if "image" in settings else None
        names = tuple(map(str, settings["attribute_names"]))
        columns = {part: tuple(map(int, settings.get(f"{part}_columns", ()))) for part in ("shape", "image")}
    for name, part in (("shape", shape), ("image", image)):
        if part is not None:
            load_part(part, tensors, f"{name}.", folder)
            freeze(device, part)
    return LoadedAttr2Image(
        shape, image, names, columns["shape"], columns["image"], settings=settings, hash=digest, folder=folder
    )
