"""Parts of a training that are the same for all models and encoders: its checks, its run folder, its end.

A training function takes a `Request`, hands it to `prepare_run`, builds its networks and batches, and hands them to
`run_training`. Every check of data, encoder and run is in `prepare_run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Literal, Protocol, TypedDict, TypeVar

import torch
import yaml
from PIL import Image
from torch import nn

from gancli.config import (
    BackboneSection,
    BaseRecipe,
    HolesSection,
    TrainSection,
    differences_from_paper,
    dump_recipe,
    flatten,
    load_recipe,
    paper_recipe,
)
from gancli.data.holes import Holes, holes_from_folder
from gancli.data.loader import Rank, batches, refuse_small_split
from gancli.data.shards import Dataset, Split
from gancli.encoders.damsm import Damsm
from gancli.engine import distributed
from gancli.engine.checkpoint import RunFolder, load_tensors, read_checkpoint, refuse_changes
from gancli.engine.events import Events
from gancli.engine.loop import Loop, LoopResult, LoopSettings, Networks
from gancli.engine.phases import Batch, Phase, Shared, Trainable
from gancli.engine.precision import bf16_cost, choose_precision, has_bf16
from gancli.errors import ConfigError, DataError, UsageError
from gancli.registry import MODELS
from gancli.run_paths import LATEST, newest_run, resume_path_of, run_folder_of, weights_folder_of
from gancli.training.caption_vectors import Condition, open_condition, refuse_other_kind
from gancli.version import __version__
from gancli.weights_folder import (
    load_part,
    read_discriminators,
    read_folder,
    read_settings,
    reading_settings,
)

R = TypeVar("R", bound=BaseRecipe, covariant=True)
BatchOut = TypeVar("BatchOut", covariant=True)


@dataclass(frozen=True)
class RunResult:
    """Outcome of a training.

    Attributes:
        run: Run folder.
        output: Model folder (`train`) or encoder folder (`pretrain_encoder`).
        loop: Steps, images, seconds, last losses, and the signal that stopped it, if any.
    """

    run: Path
    output: Path
    loop: LoopResult


@dataclass(frozen=True)
class Request(Generic[R]):
    """A training as the user asks for it.

    Attributes:
        recipe: Recipe.
        device: Device of the networks.
        events: Receiver of progress.
        runs: Folder in which a numbered run folder is made.
        resume: Run folder or checkpoint to continue.
        name: End of the run folder's name; None for model and dataset.
        init_from: Model folder or run to take the first weights from.
        weights: File of published weights that the training needs; None looks for it.
        out: Encoder folder to write; None for a model.
    """

    recipe: R
    device: torch.device
    events: Events
    runs: Path
    resume: Path | None = None
    name: str | None = None
    init_from: str | Path | None = None
    weights: Path | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Prepared(Generic[R]):
    """A training whose data, encoder and run are there and fit each other.

    Attributes:
        request: Request, its recipe with every `latest` resolved.
        dataset: Dataset.
        split: Split that it trains on.
        condition: Opened source of what the model is conditioned on.
        holes: Holes to cut, where the recipe has any.
        own: Model folder of the run to be resumed; None for a new run.
    """

    request: Request[R]
    dataset: Dataset
    split: Split
    condition: Condition | None
    holes: Holes | None
    own: Path | None

    @property
    def recipe(self) -> R:
        """Resolved recipe."""
        return self.request.recipe

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self.request.device

    @property
    def events(self) -> Events:
        """Receiver of progress."""
        return self.request.events

    def settings(self, run: RunFolder, step: int, images: int) -> dict[str, object]:
        """Return the part of config.yaml that is the same for all models and encoders."""
        recipe, manifest = self.recipe, self.dataset.manifest
        known = "demo" if manifest.release == "demo" else manifest.name
        return {
            "kind": recipe.kind,
            "gancli": __version__,
            "run": run.path.name,
            "dataset": {
                "name": manifest.name,
                "release": manifest.release,
                "split_rule": manifest.split_rule,
                "crop_rule": manifest.crop_rule,
                "image_size": manifest.image_size,
            },
            "step": step,
            "images_seen": images,
            "seed": recipe.train.seed,
            **({} if self.condition is None else {"encoder_hash": self.condition.hash}),
            "paper_recipe": paper_recipe(recipe, known),
            "differences": differences_from_paper(recipe, known),
        }


def prepare_run(request: Request[R]) -> Prepared[R]:
    """Open everything that a training needs, and refuse what does not fit. Nothing is written yet.

    Raises:
        DataError: Dataset or encoder are missing, broken, or do not belong together, or the dataset lacks something.
        ConfigError: The recipe does not fit the dataset or the encoder, or the run was trained with another encoder.
        UsageError: The run to be resumed does not exist, or there is no `latest` run.
    """
    own: Path | None = None
    if request.resume is not None:
        folder = RunFolder.open(request.resume)
        own = folder.model if folder.model.is_dir() else None
    request = replace(request, recipe=_without_latest(request))
    recipe = _with_precision(request)
    request = replace(request, recipe=recipe)
    _refuse_missing_links(recipe, resumed=own is not None)
    if recipe.conditioning is not None:
        refuse_other_kind(recipe.conditioning)
    dataset = Dataset.open(recipe.data)
    _refuse_enlarging(recipe, dataset)
    split = dataset.whole() if recipe.training_split == "all" else dataset.split(recipe.training_split)
    _refuse_lacking(recipe, split, dataset)
    refuse_small_split(split, len(split), recipe.smallest_split, distributed.world_size())
    holes = None if recipe.hole_settings is None else build_holes(recipe.hole_settings)
    condition: Condition | None = None
    if recipe.conditioning is not None:
        condition = open_condition(
            recipe.conditioning, dataset, request.device, request.events, request.weights
        )
        if own is not None:
            refuse_other_encoder(own, read_settings(own), condition)
    return Prepared(request, dataset, split, condition, holes, own)


def _without_latest(request: Request[R]) -> R:
    """Return the recipe with the run folders that `latest` stands for.

    A resumed run keeps the folders that it began with.
    """
    recipe = request.recipe
    values = flatten(recipe)
    links = [link for link in recipe.links if values.get(link.key) == LATEST]
    if not links:
        return recipe
    stored = {} if request.resume is None else flatten(load_recipe(RunFolder.open(request.resume).recipe))
    content = recipe.model_dump(mode="json")
    for link in links:
        section, _, leaf = link.key.rpartition(".")
        found = stored.get(link.key) or newest_run(
            request.runs, link.kinds, data=recipe.data, stage=link.stage
        )
        (content[section] if section else content)[leaf] = str(found)
    return type(recipe).model_validate(content)


def _with_precision(request: Request[R]) -> R:
    """Return the recipe with the precision that `auto` stands for. A resumed run keeps the one that it began with.

    Precision that the device only emulates is reported.
    """
    recipe, device = request.recipe, request.device
    precision = recipe.train.precision
    if precision == "bf16" and not has_bf16(device):
        text = f"train.precision=bf16: this {device.type} emulates it"
        if device.type == "cpu":
            text += f", {bf16_cost(device):.1f} times the time of float32 for a convolution"
        request.events.emit("warning", f"{text}; train.precision=auto chooses")
    if precision != "auto":
        return recipe
    if request.resume is not None:
        stored = load_recipe(RunFolder.open(request.resume).recipe).train.precision
        chosen = stored if stored != "auto" else "float32"
    else:
        chosen = distributed.from_main(lambda: choose_precision(device))
    train = recipe.train.model_copy(update={"precision": chosen})
    return recipe.model_copy(update={"train": train})


def _refuse_missing_links(recipe: BaseRecipe, *, resumed: bool) -> None:
    values = flatten(recipe)
    for link in recipe.links:
        path = values.get(link.key)
        if path is None or Path(str(path)).exists() or (link.kept and resumed):
            continue
        kind = link.kinds[0]
        command = f"train {kind}" if kind in MODELS else f"pretrain-encoder {' or '.join(link.kinds)}"
        stage = "" if link.stage is None else f" stage={link.stage}"
        raise DataError(
            f"{link.key}: {path}: no such run, model or encoder folder",
            f"Train it first: gancli {command}{stage} …; {link.key}=latest takes the newest.",
        )


def _refuse_enlarging(recipe: BaseRecipe, dataset: Dataset) -> None:
    size = recipe.image_size
    if size is None or size <= dataset.image_size or recipe.resizes:
        return
    key = recipe.size_override(size).partition("=")[0]
    raise ConfigError(
        f"{key}: received {flatten(recipe)[key]}, but {recipe.data} was prepared at {dataset.image_size} pixels",
        f"Set {recipe.size_override(dataset.image_size)} or less, or prepare the data with --image-size {size}.",
    )


def _refuse_lacking(recipe: BaseRecipe, split: Split, dataset: Dataset) -> None:
    lacking = {
        "silhouettes": (not split.has_silhouettes, "does not say where on its images the object is"),
        "attributes": (split.attributes is None, "its images have no attributes"),
        "speech": (not split.has_speech, "its captions are not spoken"),
        "classes": (not dataset.class_names, "its images have no classes"),
    }
    for need, hint in recipe.needs.items():
        lacks, text = lacking[need]
        if lacks:
            raise DataError(f"{dataset.path}: {text}", hint)


def refuse_other_encoder(folder: Path, settings: Mapping[str, object], condition: Condition) -> None:
    """Refuse a model folder, with this config.yaml, that was trained with another encoder than the one at hand.

    Raises:
        ConfigError: The vectors are of another encoder or file.
    """
    with reading_settings(folder):
        digest = str(settings["encoder_hash"])
    if digest != condition.hash:
        name = condition.folder if isinstance(condition, Damsm) else condition.name
        raise ConfigError(
            f"{folder} was trained with another encoder ({digest[:12]}) than {name} ({condition.hash[:12]})",
            "A run from its start to its end, and both stages of a model, read the same vectors: name the encoder or "
            "file that this one was trained with.",
        )


def build_holes(section: HolesSection) -> Holes:
    """Return the holes that a section of a recipe describes.

    Raises:
        DataError: Its folder is missing or holds no mask.
    """
    if section.folder is not None:
        return holes_from_folder(section.folder, inverted=section.invert)
    return Holes(section.kind, section.center, section.least, section.most)


def backbone_side(model: BackboneSection, image_size: int) -> int:
    """Return the side in pixels of a backbone's images: the recipe's, or else the dataset's.

    Raises:
        ConfigError: The backbone cannot work at that side.
    """
    size = model.size or image_size
    if model.backbone.startswith("efficientnet_lite") and size < 32:
        raise ConfigError(f"model.size: received {size}, allowed for {model.backbone}: at least 32")
    if model.backbone == "small" and (size < 16 or size & (size - 1)):
        raise ConfigError(
            f"model.size: received {size}, allowed for the small backbone: a power of two from 16 on"
        )
    return size


class Share(TypedDict):
    """Part of every batch that a process takes, as arguments of a `BatchSource`."""

    batch: int
    seed: int
    rank: Rank


def share_of(recipe: BaseRecipe) -> Share:
    """Return this process's part of every batch."""
    return {
        "batch": recipe.loader.batch,
        "seed": recipe.train.seed,
        "rank": Rank(distributed.rank(), distributed.world_size()),
    }


class Source(Protocol[BatchOut]):
    """Training batches by step number."""

    @property
    def batch(self) -> int:
        """Images per step of this process."""

    def __len__(self) -> int: ...

    def __getitem__(self, step: int) -> BatchOut: ...


Export = Callable[[Networks, Path, dict[str, object]], None]


@dataclass(frozen=True)
class Hooks:
    """Work of a run besides its steps.

    Attributes:
        export: Writes a portable folder, from the networks, an empty folder and the common part of its config.yaml.
        sample: Draws a sample grid, from the networks and the step.
        evaluate: Returns metrics, from the networks and the step.
        evaluate_every: Steps from one evaluation to the next.
        best: Metric and direction by which the best checkpoint is kept.
        on_epoch: Called with the number of finished epochs.
        prefix: Prefix of the trained generator's tensors in a model folder.
    """

    export: Export
    sample: Callable[[Networks, int], Image.Image] | None = None
    evaluate: Callable[[Networks, int], Mapping[str, float]] | None = None
    evaluate_every: int | None = None
    best: tuple[str, Literal["min", "max"]] | None = None
    on_epoch: Callable[[int], None] | None = None
    prefix: str = "generator."


def run_training(
    run: Prepared[BaseRecipe], model: Trainable[Batch, Shared], source: Source[Batch], hooks: Hooks
) -> RunResult:
    """Train a model or an encoder in a new run folder, or in the one to be resumed.

    Raises:
        ConfigError: Batch norm cannot be synchronised on this device.
        DataError: The weights to start from do not fit.
        UsageError: The run to be resumed has another recipe or no checkpoint.
    """
    recipe, request = run.recipe, run.request
    if request.init_from is not None:
        load_initial_weights(model.networks, request.init_from, run, hooks.prefix)
    if recipe.train.sync_batch_norm:
        with_synced_norms(model.networks, run.device)
    folder = open_run(run)
    if request.resume is None and request.out is None:  # to score "before training" with
        distributed.from_main(
            lambda: hooks.export(model.networks, folder.path / "initial", run.settings(folder, 0, 0))
        )
    loop = Loop(
        model,
        lambda start: batches(source, start, None, recipe.loader.workers),  # type: ignore[arg-type]
        folder,
        loop_settings(
            recipe.train,
            len(source),
            source.batch,
            getattr(recipe.optim, "ema_decay", 0) or None,
            ema_warmup=getattr(recipe.optim, "ema_warmup", False),
        ),
        run.device,
        sample=hooks.sample,
        evaluate=hooks.evaluate,
        evaluate_every=hooks.evaluate_every,
        best=hooks.best,
        export=lambda networks, into, step: hooks.export(
            networks, into, run.settings(folder, step, loop.images)
        ),
        on_epoch=hooks.on_epoch,
        events=run.events,
    )
    return RunResult(folder.path, request.out or folder.model, loop.run())


def open_run(run: Prepared[BaseRecipe]) -> RunFolder:
    """Return a new numbered run folder with the resolved recipe, or the one to be resumed after comparing recipes.

    A key that recipes did not have when the run was made counts as its default.

    Raises:
        UsageError: The run to be resumed has another recipe or no checkpoint.
    """
    recipe, request = run.recipe, run.request
    text = dump_recipe(recipe)
    label = request.name or "-".join(filter(None, (recipe.kind, run.dataset.name, recipe.variant)))

    def opened() -> RunFolder:
        if request.resume is None:
            folder = RunFolder.create(request.runs, label)
        else:
            folder = RunFolder.open(request.resume)
            refuse_changes(yaml.safe_load(dump_recipe(load_recipe(folder.recipe))), yaml.safe_load(text))
            if folder.resume_point() is None:
                raise UsageError(
                    f"{folder.path}: has no checkpoint to resume from", "Start a new run instead."
                )
        folder.write_recipe(text)
        return folder

    return distributed.from_main(opened)


def with_synced_norms(networks: Mapping[str, nn.Module], device: torch.device) -> None:
    """Turn batch norm into torch's SyncBatchNorm, over the images of all processes. Parameters are kept.

    Raises:
        ConfigError: The device is no GPU.
    """
    if device.type != "cuda":
        raise ConfigError(
            f"train.sync_batch_norm: torch's SyncBatchNorm runs on CUDA only, this training on {device.type}",
            "Leave it out: each process then takes the statistics of its own images.",
        )
    for network in networks.values():
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call, unused-ignore]


def loop_settings(
    section: TrainSection,
    batches_per_epoch: int,
    batch: int,
    ema_decay: float | None,
    *,
    ema_warmup: bool = False,
) -> LoopSettings:
    """Return the engine's settings for a recipe's `train` section; epochs become steps.

    Args:
        section: Section of a recipe.
        batches_per_epoch: Batches of a process in an epoch.
        batch: Images in each of them.
        ema_decay: Decay of the averaged weights; None averages nothing.
        ema_warmup: Let the decay rise to that with the steps.
    """
    steps_per_epoch = max(1, batches_per_epoch // section.grad_accumulation)
    if section.precision == "auto":
        raise ValueError("the precision was not chosen")
    limits = [section.steps, None if section.epochs is None else section.epochs * steps_per_epoch]
    steps = min((limit for limit in limits if limit is not None), default=None)
    return LoopSettings(
        steps=steps,
        minutes=section.minutes,
        log_every=section.log_every,
        sample_every=section.sample_every,
        checkpoint_every=section.checkpoint_every,
        keep=section.keep,
        precision=section.precision,
        channels_last=section.channels_last,
        compile=section.compile,
        activation_checkpointing=section.activation_checkpointing,
        deterministic=section.deterministic,
        seed=section.seed,
        ema_decay=ema_decay,
        ema_warmup=ema_warmup,
        steps_per_epoch=steps_per_epoch,
        batch=batch * section.grad_accumulation,
        grad_accumulation=section.grad_accumulation,
    )


def load_initial_weights(
    networks: Mapping[str, nn.Module], path: str | Path, run: Prepared[BaseRecipe], prefix: str
) -> None:
    """Load first weights: all networks of a run's checkpoint, or those of a model folder.

    A model folder holds the generator, an imported one the discriminators too where their files were given.

    Args:
        networks: Networks by name, with "generator".
        path: Run folder or `latest` for the newest checkpoint, a checkpoint, or a model folder.
        run: Training that starts from them.
        prefix: Start of the names of the generator's tensors in a model folder.

    Raises:
        DataError: There is no such folder, or its networks have other shapes.
    """
    if str(path) == LATEST:
        path = newest_run(run.request.runs, (run.recipe.kind,), data=run.recipe.data)
    folder = Path(path)
    folder = folder.parent if folder.is_file() else folder
    if run_folder_of(folder) is not None and not (folder / "config.yaml").is_file():
        checkpoint = RunFolder.open(resume_path_of(folder)).resume_point()
        if checkpoint is None:
            raise DataError(f"{folder}: has no checkpoint to take weights from")
        load_tensors(networks, read_checkpoint(checkpoint).networks, checkpoint)
        return
    folder = weights_folder_of(folder)
    _, tensors, _ = read_folder(folder, run.recipe.kind)
    judges = read_discriminators(folder)
    for name, network in networks.items():
        if any(key.startswith(f"{name}.") for key in judges):
            load_part(network, judges, f"{name}.", folder)
    part = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    try:
        networks["generator"].load_state_dict(part)
    except RuntimeError as error:
        raise DataError(
            f"{folder}: its generator is not the recipe's: {error}",
            "Use the recipe it was trained with (gancli recipes show), or train from the start.",
        ) from error


class StepDecay:
    """Schedule that multiplies the learning rates by `decay` after every `every` epochs.

    Called with the number of finished epochs, it sets the rates for the next; so a resumed run needs no state.

    Args:
        phases: Phases whose optimizers have the rates of the first epoch now.
        decay: Factor in (0, 1].
        every: Epochs from one decay to the next.
    """

    def __init__(self, phases: Sequence[Phase[Shared]], decay: float, every: int) -> None:
        self.rates = [(phase.optimizer, float(phase.optimizer.param_groups[0]["lr"])) for phase in phases]
        self.decay = decay
        self.every = every

    def __call__(self, epoch: int) -> None:
        factor = self.decay ** (epoch // self.every)
        for optimizer, rate in self.rates:
            set_rate(optimizer, rate * factor)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr
