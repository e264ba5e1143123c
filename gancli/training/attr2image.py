"""Training of either stage of attr2image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gancli.config.arguments import arguments_of, construct
from gancli.config.attr2image import Attr2ImageRecipe
from gancli.data.attributes import split_attributes
from gancli.data.loader import BatchSource, evaluation_batches
from gancli.data.shards import Dataset, Split
from gancli.data.silhouettes import Fault
from gancli.engine.checkpoint import seed_everything
from gancli.engine.loop import Networks
from gancli.engine.phases import AdamSettings
from gancli.errors import ConfigError, DataError
from gancli.figures import grid
from gancli.inference.attr2image import LoadedAttr2Image, load_attr2image, save_attr2image
from gancli.models import attr2image
from gancli.models.attr2image import Attr2Shape, ImageGenerator, Shape2Image, ShapeGenerator
from gancli.models.layers import ConditionalDiscriminator, MatchingDiscriminator
from gancli.training.caption_vectors import grid_images
from gancli.training.parameters import CountedNetworks
from gancli.training.projected import projected_discriminator
from gancli.training.run import (
    Hooks,
    Prepared,
    Request,
    RunResult,
    StepDecay,
    prepare_run,
    run_training,
    share_of,
)

GRID_IMAGES = 12  # each beside its silhouette and the real one
GRID_COLUMNS = 6
CUB_ATTRIBUTES = {"shape": 42, "image": 270}  # attributes of each stage on CUB-200-2011


def train_attr2image(request: Request[Attr2ImageRecipe]) -> RunResult:
    """Train the stage that the recipe says. Result and errors are those of `gancli.train`."""
    run = prepare_run(request)
    recipe, dataset = run.recipe, run.dataset
    size, shape_stage = recipe.model.size, recipe.stage == "shape"
    columns = stage_columns(recipe, dataset)
    own = attributes_of(run.split)[:, list(columns[recipe.stage])]
    first = shape_model(run)
    seed_everything(recipe.train.seed)
    arguments = generator_arguments(recipe, own.shape[1])
    model = build_attr2image(recipe, arguments, run.device)
    source = BatchSource(
        run.split,
        sizes=[] if shape_stage else [size],
        **share_of(recipe),
        words=0,
        images=usable_images(run.split, filtered=recipe.loader.filtered),
        silhouette_sizes=[size],
        attributes=own,
    )
    shown = GridShapes.choose(run, columns[recipe.stage])

    def export(networks: Networks, folder: Path, settings: dict[str, object]) -> None:
        settings |= {
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

    decay = StepDecay(model.phases, recipe.optim.lr_decay, recipe.optim.lr_decay_epochs)
    return run_training(
        run, model, source, Hooks(export, shown.draw, on_epoch=decay, prefix=f"{recipe.stage}.")
    )


def generator_arguments(recipe: Attr2ImageRecipe, attributes: int) -> dict[str, object]:
    """Return the arguments of the stage's generator, as a model folder's config.yaml keeps them."""
    generator = ShapeGenerator if recipe.stage == "shape" else ImageGenerator
    return arguments_of(generator, recipe.model, attributes=attributes)


Conditional = MatchingDiscriminator | ConditionalDiscriminator


def build_networks(
    recipe: Attr2ImageRecipe, arguments: dict[str, object], *, pretrained: bool = True
) -> tuple[ShapeGenerator | ImageGenerator, dict[str, nn.Module], Conditional | None]:
    """Return generator, unconditional discriminators by name, and conditional discriminator, with fresh weights.

    A projected discriminator stands in for the conditional one. `pretrained` loads the weights below it.
    """
    model, loss = recipe.model, recipe.loss
    shape = recipe.stage == "shape"
    generator: ShapeGenerator | ImageGenerator
    generator = construct(ShapeGenerator, **arguments) if shape else construct(ImageGenerator, **arguments)
    channels = 1 if shape else 3 + model.d_sees_shape
    discriminators: dict[str, nn.Module] = {}
    if loss.global_weight > 0:
        whole = attr2image.pixel_discriminator if model.pixel else attr2image.global_discriminator
        discriminators["global"] = construct(whole, model, channels=channels)
    if shape and model.local:
        discriminators["local"] = construct(attr2image.local_discriminator, model, channels=channels)
    conditional: Conditional | None = None
    if model.conditional:
        attributes = arguments["attributes"]
        assert isinstance(attributes, int)
        conditional = projected_discriminator(recipe.discriminator, attributes, pretrained=pretrained)
    if model.conditional and conditional is None:
        known = {"attributes": arguments["attributes"], "channels": channels}
        conditional = construct(attr2image.conditional_discriminator, model, **known)
    return generator, discriminators, conditional


def build_attr2image(
    recipe: Attr2ImageRecipe, arguments: dict[str, object], device: torch.device
) -> Attr2Shape | Shape2Image:
    """Return a stage of attr2image with fresh weights on a device, ready for the engine."""
    generator, discriminators, conditional = build_networks(recipe, arguments)
    shared: dict[str, object] = {
        "generator": generator.to(device),
        "discriminators": {name: each.to(device) for name, each in discriminators.items()},
        "conditional": None if conditional is None else conditional.to(device),
        "adam": construct(AdamSettings, recipe.optim),
    }
    if recipe.stage == "shape":
        return construct(Attr2Shape, recipe.loss, **shared)
    return construct(
        Shape2Image,
        recipe.loss,
        **shared,
        d_sees_shape=recipe.model.d_sees_shape,
        shape_noise=recipe.loader.shape_noise,
    )


def networks(recipe: Attr2ImageRecipe) -> CountedNetworks:
    """Return the networks of a recipe, for counting parameters."""
    count = CUB_ATTRIBUTES[recipe.stage]
    arguments = generator_arguments(recipe, count)
    generator, discriminators, conditional = build_networks(recipe, arguments, pretrained=False)
    found: dict[str, nn.Module] = {"generator": generator}
    found |= {f"discriminator_{name}": discriminator for name, discriminator in discriminators.items()}
    if conditional is None:
        return CountedNetworks(found)
    kind = "of shape" if recipe.stage == "shape" else "other than shape"
    found["discriminator_conditional"] = conditional
    return CountedNetworks(found, f"{count} attributes {kind}")


def stage_columns(recipe: Attr2ImageRecipe, dataset: Dataset) -> dict[str, tuple[int, ...]]:
    """Return the attributes that each stage knows, as columns of the dataset's.

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
    """Return the attributes of all images of a split, (N, A), which are known to be there."""
    attributes = split.attributes
    assert attributes is not None
    return attributes


def usable_images(split: Split, *, filtered: bool) -> NDArray[np.int64]:
    """Return the indices of the images with a silhouette to learn from.

    Args:
        split: Split with silhouettes.
        filtered: Whether only silhouettes without any fault count; else all that show an object.

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


def shape_model(run: Prepared[Attr2ImageRecipe]) -> LoadedAttr2Image | None:
    """Load the Stage I that goes into the model folder of Stage II; None where the recipe names none.

    A resumed run keeps the one it began with: the recipe's may have been trained further since, or be gone.

    Raises:
        DataError: The folder holds something else, or knows other attributes than the dataset.
        ConfigError: It holds no Stage I.
    """
    folder = run.recipe.init.shape
    if folder is None:
        return None
    loaded = load_attr2image(run.own or folder)
    if loaded.shape is None:
        raise ConfigError(f"init.shape: {folder} holds a model of images without one of shapes")
    loaded.check_dataset(run.dataset)
    return loaded


@dataclass(frozen=True)
class GridShapes:
    """Held-out images of the sample grids, with fixed attributes and noise.

    Attributes:
        shapes: (N, 1, S, S) real silhouettes.
        images: (N, 3, S, S) real images; None in Stage I.
        attributes: (N, A) attributes of the stage.
        noise: (N, Z) noise of Stage I.
        condition_noise: (N, C).
    """

    shapes: Tensor
    images: Tensor | None
    attributes: Tensor
    noise: Tensor
    condition_noise: Tensor

    @classmethod
    def choose(cls, run: Prepared[Attr2ImageRecipe], columns: tuple[int, ...]) -> GridShapes:
        """Take images spread over the held-out split."""
        recipe, device = run.recipe, run.device
        split, indices = grid_images(run.dataset, GRID_IMAGES)
        chosen = np.array(indices, np.int64)
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
    def draw(self, networks: Networks, step: int) -> Image.Image:
        """Draw beside the real: silhouettes, or silhouette, painted image and photograph."""
        generator = networks["generator"]
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
