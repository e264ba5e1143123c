"""Training either stage of attr2image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gancli.build import attr2image_arguments, build_attr2shape, build_shape2image
from gancli.config import Attr2ImageRecipe
from gancli.data.attributes import split_attributes
from gancli.data.loader import BatchSource, evaluation_batches
from gancli.data.shards import Dataset, Split
from gancli.data.silhouettes import Fault
from gancli.engine.checkpoint import RunFolder, seed_everything
from gancli.engine.events import Events
from gancli.errors import ConfigError, DataError
from gancli.figures import grid
from gancli.inference.attr2image import LoadedAttr2Image, load_attr2image, save_attr2image
from gancli.models.attr2image import ImageGenerator, ShapeGenerator
from gancli.training.run import (
    RunResult,
    StepDecay,
    grid_images,
    load_initial_weights,
    share_of,
    train_model,
)
from gancli.version import __version__

GRID_IMAGES = 12  # each beside its silhouette and the real one
GRID_COLUMNS = 6


def train_attr2image(
    recipe: Attr2ImageRecipe,
    dataset: Dataset,
    device: torch.device,
    events: Events,
    *,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    init_from: Path | None = None,
) -> RunResult:
    """Trains the stage that a recipe says on a dataset; further arguments, result and errors as `gancli.train`."""
    size, shape_stage = recipe.model.size, recipe.stage == "shape"
    if size > dataset.image_size:
        raise ConfigError(
            f"model.size: received {size}, but {recipe.data} was prepared at {dataset.image_size} pixels",
            f"Set model.size={dataset.image_size} or less, or prepare the data with --image-size {size}.",
        )
    split = dataset.split("train")
    split.need_silhouettes()
    columns = stage_columns(recipe, dataset)
    own = attributes_of(split)[:, list(columns[recipe.stage])]
    first = None if shape_stage else shape_model(recipe, resume, dataset)
    seed_everything(recipe.train.seed)
    arguments = attr2image_arguments(recipe, own.shape[1])
    model = (build_attr2shape if shape_stage else build_shape2image)(recipe, arguments, device)
    if init_from is not None:
        load_initial_weights(model.networks, init_from, "attr2image", f"{recipe.stage}.")
    source = BatchSource(
        split,
        sizes=[] if shape_stage else [size],
        **share_of(recipe),
        words=0,
        images=usable_images(split, filtered=recipe.loader.filtered),
        silhouette_sizes=[size],
        attributes=own,
    )
    shown = GridShapes.choose(dataset, recipe, columns[recipe.stage], device)

    def sample(networks: Mapping[str, nn.Module], step: int) -> Image.Image:
        return shown.draw(networks["generator"])

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int, images: int) -> None:
        settings: dict[str, Any] = {
            "gancli": __version__,
            "dataset": dataset.name,
            "step": step,
            "images_seen": images,
            "discriminators": list(model.discriminators),
            "d_sees_shape": recipe.model.d_sees_shape,
            recipe.stage: arguments,
            "attribute_names": list(dataset.attribute_names),
            f"{recipe.stage}_columns": list(columns[recipe.stage]),
        }
        if shape_stage:
            save_attr2image(folder, networks["generator"], None, settings)
            return
        if first is not None:
            settings |= {
                "shape": first.settings["shape"],
                "shape_columns": list(first.shape_columns),
                "shape_hash": first.hash,
            }
        save_attr2image(folder, None if first is None else first.shape, networks["generator"], settings)

    return train_model(
        recipe,
        model,
        source,
        device,
        runs=runs,
        label=f"attr2image-{dataset.name}-{recipe.stage}",
        resume=resume,
        sample=sample,
        export=export,
        events=events,
        on_epoch=StepDecay(model.phases, recipe.optim.lr_decay, recipe.optim.lr_decay_epochs),
    )


def stage_columns(recipe: Attr2ImageRecipe, dataset: Dataset) -> dict[str, tuple[int, ...]]:
    """The attributes that each stage knows, as columns of the dataset's.

    Raises:
        DataError: There are no attributes, or none of a stage.
    """
    chosen = recipe.attributes
    split = split_attributes(
        dataset.attribute_names,
        crest_is_shape=chosen.crest_is_shape,
        drop_size=chosen.drop_size,
        shape_groups=chosen.shape_groups,
    )
    return {"shape": split.shape, "image": split.appearance}


def attributes_of(split: Split) -> NDArray[np.float32]:
    """The attributes of all images of a split, (N, A).

    Raises:
        DataError: There are none.
    """
    attributes = split.attributes
    if attributes is None:
        raise DataError(
            f"{split.folder}: its images have no attributes",
            "attr2image learns from attributes: those of CUB-200-2011, or of gancli prepare demo.",
        )
    return attributes


def usable_images(split: Split, *, filtered: bool) -> NDArray[np.int64]:
    """The images of a split with a silhouette to learn from, by their index.

    Args:
        split: With silhouettes.
        filtered: Only those without any fault; else whatever shows an object.

    Raises:
        DataError: There are none.
    """
    counted = 255 if filtered else (Fault.MISSING | Fault.EMPTY).value
    usable = np.flatnonzero((split.silhouette_faults & counted) == 0)
    if len(usable) == 0:
        raise DataError(
            f"{split.folder}: none of the {len(split)} silhouettes of split {split.name!r} can be learned from",
            "gancli data show DIR --outlines shows them; loader.filtered=false takes all that show anything.",
        )
    return usable


def shape_model(recipe: Attr2ImageRecipe, resume: Path | None, dataset: Dataset) -> LoadedAttr2Image | None:
    """The Stage I that goes into the model folder of Stage II; None where none is named.

    A resumed run keeps the one it began with: the recipe's may have been trained further since, or be gone.

    Raises:
        DataError: There is no such folder, or it holds something else, or knows other attributes than the dataset.
        ConfigError: It holds no Stage I.
    """
    folder = recipe.init.shape
    if folder is None:
        return None
    if resume is not None and (model := RunFolder.open(resume).model).is_dir():
        folder = model
    if not folder.exists():
        raise DataError(
            f"init.shape: {folder}: no such run or model folder",
            "Train it first: gancli train attr2image stage=shape …, or leave init.shape out.",
        )
    loaded = load_attr2image(folder)
    if loaded.shape is None:
        raise ConfigError(f"init.shape: {folder} holds a model of images without one of shapes")
    loaded.check_dataset(dataset)
    return loaded


@dataclass(frozen=True)
class GridShapes:
    """What the sample grids show: held-out images with fixed attributes and noise.

    Attributes:
        shapes: (N, 1, S, S) the real silhouettes.
        images: (N, 3, S, S) the real images; None in Stage I.
        attributes: (N, A) of the stage.
        noise: (N, Z), of Stage I.
        condition_noise: (N, C).
    """

    shapes: Tensor
    images: Tensor | None
    attributes: Tensor
    noise: Tensor
    condition_noise: Tensor

    @classmethod
    def choose(
        cls, dataset: Dataset, recipe: Attr2ImageRecipe, columns: tuple[int, ...], device: torch.device
    ) -> GridShapes:
        """Images spread over the held-out split."""
        split, indices = grid_images(dataset)
        few = np.linspace(0, len(indices) - 1, min(GRID_IMAGES, len(indices))).astype(int)
        chosen = np.array(indices, np.int64)[few]
        size = recipe.model.size
        sizes = [] if recipe.stage == "shape" else [size]
        (batch,) = evaluation_batches(
            split, sizes=sizes, batch=len(chosen), words=0, images=chosen, silhouette_sizes=[size]
        )
        random = torch.Generator().manual_seed(recipe.train.seed)
        batch = batch.to(device)
        return cls(
            batch.silhouettes[0],
            batch.images[0] if batch.images else None,
            torch.from_numpy(attributes_of(split)[chosen][:, list(columns)]).to(device),
            torch.randn(len(chosen), recipe.model.noise_dim, generator=random).to(device),
            torch.randn(len(chosen), recipe.model.condition_dim, generator=random).to(device),
        )

    @torch.no_grad()
    def draw(self, generator: nn.Module) -> Image.Image:
        """The drawn beside the real: silhouettes, or silhouette, painted image and photograph."""
        real = self.shapes.expand(-1, 3, -1, -1)
        if isinstance(generator, ShapeGenerator):
            drawn = generator(self.attributes, self.noise, self.condition_noise).shapes
            panels = [drawn.expand(-1, 3, -1, -1), real]
        else:
            assert isinstance(generator, ImageGenerator)
            assert self.images is not None
            painted = generator(self.shapes, self.attributes, self.condition_noise).images
            panels = [real, painted, self.images]
        return grid(torch.stack(panels, dim=1).flatten(0, 1), GRID_COLUMNS)
