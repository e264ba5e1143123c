"""Recipes: the pydantic models of a training recipe, and how one is found, inherited, overridden and reported.

A recipe is a YAML file (`recipes/<model>/<dataset>.yaml`). `base: NAME` inherits from one other recipe (one
level), `key=value` overrides are typed as YAML, unknown keys are refused. Every mistake is reported at once
with its dotted path, what was received and what is allowed. This module imports no torch: the command line
lists recipes with it.
"""

from __future__ import annotations

import difflib
import itertools
import types
import typing
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from gancli.errors import ConfigError

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """One block of a recipe: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class TrainSection(Section):
    """How long and how a run trains. It stops at whichever of epochs, steps and minutes comes first."""

    epochs: Positive | None = None  # passes over the training split
    steps: Positive | None = None  # optimizer steps of the generator (or of the encoder)
    minutes: Rate | None = None  # wall-clock minutes of training, summed over resumed sessions
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    channels_last: bool = True  # memory format of the convolutions' weights
    compile: bool = False  # torch.compile of every network
    deterministic: bool = False  # only deterministic kernels: slower, repeatable on a GPU
    log_every: Positive = 50  # steps between two rows of log.csv
    sample_every: Positive = 1000  # steps between two sample grids
    checkpoint_every: Positive = 1000  # steps between two checkpoints
    keep: Positive = 3  # checkpoints kept beside the best one

    @field_validator("minutes")
    @classmethod
    def _needs_a_limit(cls, minutes: float | None, info: ValidationInfo) -> float | None:
        # A field validator, because pydantic skips whole-section checks while any field is wrong.
        if minutes is None and info.data.get("epochs", 0) is None and info.data.get("steps", 0) is None:
            raise PydanticCustomError(
                "no_limit", "set at least one of train.epochs, train.steps and train.minutes"
            )
        return minutes


class LoaderSection(Section):
    """What a batch holds."""

    batch: Annotated[int, Field(ge=2)]  # images per step and process; mismatched pairs and negatives need two
    words: Positive = 18  # longest caption in words; longer ones lose random words
    workers: Count = 1  # loader processes; 0 loads in the training process


class FFGANModel(Section):
    """FF-GAN's generator and discriminators (paper section 3)."""

    name: Literal["ffgan"] = "ffgan"
    stages: tuple[int, ...] = (64, 128, 256)  # image side of every stage, each twice the one before
    generator_width: Positive = 64  # channels of the hidden features
    discriminator_width: Positive = 32  # channels after the discriminators' first convolution
    text_dim: Positive = 256  # width of the encoder's word and sentence features
    noise_dim: Positive = 100
    condition_dim: Positive = 100  # conditioning augmentation
    residual_blocks: Count = 2  # per refinement stage
    ff_block: bool = True  # FF-Block: the words modulate the features (ablation)
    gsr: bool = True  # global semantic refinement (ablation)
    gsr_input: Literal["sentence", "augmented"] = "sentence"  # public code | eq. 6
    gsr_attention: Literal["channelwise", "spatial"] = "channelwise"  # public code | eq. 6
    gsr_scale: Literal["none", "positions"] = "none"
    affine_residual: bool = False  # multiply by 1 + gamma instead of gamma
    mask_padding: bool = True  # padded words take no part in the attention; the public code lets them

    @field_validator("stages")
    @classmethod
    def _stages_double(cls, stages: tuple[int, ...]) -> tuple[int, ...]:
        powers = all(side >= 8 and side & (side - 1) == 0 for side in stages)
        if not stages or not powers or any(b != 2 * a for a, b in itertools.pairwise(stages)):
            raise PydanticCustomError(
                "stages",
                "stages must be powers of two, at least 8, each twice the one before, as [64, 128, 256]",
            )
        return stages


class FFGANLoss(Section):
    """Weights of FF-GAN's generator loss (eq. 9-12) and the three smoothing factors of its DAMSM term."""

    kl: Weight = 1.0  # conditioning augmentation
    damsm: Weight = 5.0  # lambda_2
    gamma1: Rate = 4.0  # sharpness of the attention over regions
    gamma2: Rate = 5.0  # sharpness of the sum over words
    gamma3: Rate = 10.0  # sharpness of the softmax over the batch


class FFGANOptim(Section):
    """Adam for the generator and for each discriminator, and the average of the generator's weights."""

    generator_lr: Rate = 2e-4
    discriminator_lr: Rate = 2e-4
    betas: tuple[Share, Share] = (0.5, 0.999)
    ema_decay: Share = 0.999


class FFGANRecipe(Section):
    """Everything that `gancli train ffgan` needs to know."""

    model: FFGANModel
    data: Path  # dataset folder
    encoder: Path  # DAMSM encoder folder
    loader: LoaderSection
    loss: FFGANLoss = FFGANLoss()
    optim: FFGANOptim = FFGANOptim()
    train: TrainSection


class DamsmModel(Section):
    """DAMSM's text encoder and image encoder."""

    name: Literal["damsm"] = "damsm"
    backbone: Literal["inception_v3", "resnet18", "small"]
    pretrained: bool  # ImageNet weights, frozen; never for `small`, which is trained from scratch
    dim: Annotated[int, Field(ge=2, multiple_of=2)] = 256  # of the common space; half per reading direction
    embedding_dim: Positive = 300
    dropout: Share = 0.5
    rnn: Literal["lstm", "gru"] = "lstm"
    width: Positive = 32  # first channels of the `small` backbone; the others have their own
    adapt_batch_norm: bool = True  # frozen layers still follow the batch statistics, as in the public code
    size: Annotated[int, Field(ge=8)] | None = None  # side of the input; none: the dataset's image size

    @field_validator("pretrained")
    @classmethod
    def _small_has_no_weights(cls, pretrained: bool, info: ValidationInfo) -> bool:
        if pretrained and info.data.get("backbone") == "small":
            raise PydanticCustomError(
                "pretrained", "backbone `small` has no pretrained weights: set it to false"
            )
        return pretrained


class DamsmLoss(Section):
    """The three smoothing factors of the DAMSM loss."""

    gamma1: Rate = 4.0
    gamma2: Rate = 5.0
    gamma3: Rate = 10.0


class DamsmOptim(Section):
    """Adam with an exponential decay per epoch down to a floor."""

    lr: Rate = 0.002
    betas: tuple[Share, Share] = (0.5, 0.999)
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.98  # per epoch
    lr_floor: Weight = 0.0002
    clip_text: Rate = 0.25  # largest gradient norm of the text encoder
    reset_each_epoch: bool = False  # forget Adam's moments at every epoch, as the public code does


class DamsmRecipe(Section):
    """Everything that `gancli pretrain-encoder damsm` needs to know."""

    model: DamsmModel
    data: Path
    loader: LoaderSection
    loss: DamsmLoss = DamsmLoss()
    optim: DamsmOptim = DamsmOptim()
    train: TrainSection


Recipe = FFGANRecipe | DamsmRecipe
RECIPES: dict[str, type[FFGANRecipe] | type[DamsmRecipe]] = {"ffgan": FFGANRecipe, "damsm": DamsmRecipe}


# ---------------------------------------------------------------------------------------------------- finding


def recipes_folder() -> Path:
    """The folder of the shipped recipes: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "_recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes, as `ffgan/cub`, sorted."""
    folder = recipes_folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*.yaml"))


def resolve_recipe_name(kind: str, dataset_name: str) -> str:
    """The recipe for a model and the name of a dataset.

    Args:
        kind: `ffgan` or `damsm`.
        dataset_name: `name` of the dataset folder's manifest.

    Raises:
        ConfigError: There is no such recipe; the message lists those of that model.
    """
    name = f"{kind}/{dataset_name}"
    if name not in recipe_names():
        known = [known for known in recipe_names() if known.startswith(f"{kind}/")]
        raise ConfigError(
            f"there is no recipe for {kind} on a dataset named {dataset_name!r}",
            hint=f"name one yourself: {', '.join(known) or 'a path to a YAML file'}",
        )
    return name


def _recipe_path(name_or_path: str | Path) -> Path:
    """File of a shipped recipe's name or of a path; a name wins over a file of the same name without suffix."""
    text = str(name_or_path)
    names = recipe_names()
    if text in names:
        return recipes_folder() / f"{text}.yaml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml"):
        raise ConfigError(
            f"{path}: no such recipe file", hint="`gancli recipes ls` lists the shipped recipes"
        )
    close = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    raise ConfigError(
        f"there is no recipe {text!r}",
        hint=f"did you mean {' or '.join(close)}?"
        if close
        else "`gancli recipes ls` lists the shipped recipes",
    )


# ---------------------------------------------------------------------------------------------------- reading


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice, of which YAML would silently drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML: {error.problem}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path}: a recipe is a mapping of sections (model, data, loader, …)")
    return content


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`: sections are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _inherit(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Resolve `base:` — a recipe beside this one, or a shipped recipe's name."""
    if "base" not in content:
        return content
    base = content.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: received {base!r}, allowed: the name of one recipe")
    beside = path.parent / f"{base}.yaml"
    base_path = beside if beside.is_file() else _recipe_path(base)
    parent = _read_yaml(base_path)
    if "base" in parent:
        raise ConfigError(f"{path}: base: {base!r} has a base itself; inheritance goes one level deep")
    return _merge(parent, content)


def _apply_override(content: dict[str, Any], override: str) -> str | None:
    """Set one `key=value` in place; what is wrong with it, or None."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        return f"{override!r}: an override is written key=value, as train.seed=1"
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return f"{key}: received {text!r}, which is no YAML value"
    section = content
    for i, part in enumerate(parts[:-1]):
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            return f"{key}: {'.'.join(parts[: i + 1])} is a value, not a section"
    section[parts[-1]] = value
    return None


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = (), kind: str | None = None) -> Recipe:
    """Read, inherit, override and validate a recipe.

    Args:
        name_or_path: Name of a shipped recipe (`ffgan/cub`) or path of a YAML file.
        overrides: `dotted.key=value`, the value typed as YAML.
        kind: `ffgan` or `damsm` where the caller takes only one; none takes what `model.name` says.

    Raises:
        ConfigError: The recipe does not exist, is no YAML, or has mistakes; all of them are in the message.
    """
    path = _recipe_path(name_or_path)
    content = _merge({}, _inherit(_read_yaml(path), path))  # a copy that overrides may write into
    mistakes = [mistake for override in overrides if (mistake := _apply_override(content, override))]

    model = content.get("model")
    named = model.get("name") if isinstance(model, dict) else None
    wanted = kind or named
    if not isinstance(wanted, str) or wanted not in RECIPES:
        mistakes.append(f"model.name: received {wanted!r}, allowed: {_choices(RECIPES)}")
        raise _config_error(path, mistakes)
    if kind and isinstance(named, str) and named != kind:
        raise ConfigError(f"{path}: this is a recipe of {named!r}, but one of {kind!r} is needed")
    if isinstance(model, dict):
        model.setdefault("name", wanted)
    recipe_type = RECIPES[wanted]
    try:
        recipe = recipe_type.model_validate(content)
    except ValidationError as error:
        mistakes += [_describe(details, recipe_type) for details in error.errors()]
    if mistakes:
        raise _config_error(path, mistakes)
    return recipe


# -------------------------------------------------------------------------------------------------- reporting


def _config_error(path: Path, mistakes: Sequence[str]) -> ConfigError:
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return ConfigError("\n".join([f"{path}: {count}", *(f"  {mistake}" for mistake in mistakes)]))


def _choices(values: Any) -> str:
    return ", ".join(repr(value) for value in values)


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted paths of every value a recipe type knows."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _nearest_keys(unknown: str, recipe_type: type[BaseModel]) -> list[str]:
    """Known dotted keys that an unknown one was probably meant to be, nearest first.

    The same name in another section (`optim.batch` for `loader.batch`) is likelier than a similar spelling,
    and a similar spelling likelier than a longer name that contains it (`optim.lr` for `optim.generator_lr`).
    """
    keys = list(_keys(recipe_type))
    section, _, leaf = unknown.rpartition(".")
    if moved := [key for key in keys if key.rpartition(".")[2] == leaf]:
        return moved
    known = keys if section else recipe_type.model_fields
    if close := difflib.get_close_matches(unknown, known, n=1, cutoff=0.75):
        return close
    return [key for key in keys if key.startswith(f"{section}.") and leaf in key][:3]


def _annotation(loc: Sequence[int | str], recipe_type: type[BaseModel]) -> Any:
    """Type annotation of the field at a pydantic error location, None where it leads nowhere."""
    annotation: Any = recipe_type
    for part in loc:
        if (
            isinstance(annotation, type)
            and issubclass(annotation, BaseModel)
            and part in annotation.model_fields
        ):
            annotation = annotation.model_fields[str(part)].annotation
        else:
            return annotation
    return annotation


def _type_name(annotation: Any) -> str:
    """An annotation in a recipe writer's words."""
    if annotation is types.NoneType:
        return "none"
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return _choices(arguments)
    if origin is tuple:
        item = _type_name(arguments[0])
        return f"a list of {item}s" if arguments[-1] is ... else f"a list of {len(arguments)} {item}s"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_name(argument) for argument in arguments)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a section with the keys {', '.join(annotation.model_fields)}"
    names = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path"}
    return names.get(annotation, str(annotation))


def _describe(details: ErrorDetails, recipe_type: type[BaseModel]) -> str:
    """One pydantic error as `dotted.path: received …, allowed: …`."""
    loc = details["loc"]
    # Below a tuple pydantic adds the position, which a reader finds in the received value.
    path = ".".join(str(part) for part in loc)
    kind = details["type"]
    if kind == "extra_forbidden":
        near = _nearest_keys(path, recipe_type)
        return f"{path}: unknown key" + (f"; did you mean {' or '.join(near)}?" if near else "")
    annotation = _annotation(loc, recipe_type)
    if kind == "missing":
        return f"{path}: missing, allowed: {_type_name(annotation)}"
    if kind == "no_limit":
        return f"train: {details['msg']}"
    received = f"{path}: received {details['input']!r}"
    if kind in ("stages", "pretrained"):
        return f"{received}: {details['msg']}"
    context = details.get("ctx", {})
    bounds = {
        "ge": ">=",
        "gt": ">",
        "le": "<=",
        "lt": "<",
        "multiple_of": "a multiple of",
        "pattern": "matching",
    }
    limits = [f"{sign} {context[name]}" for name, sign in bounds.items() if name in context]
    if typing.get_origin(annotation) is tuple and isinstance(loc[-1], int):
        annotation = typing.get_args(annotation)[0]
    return f"{received}, allowed: {' '.join([_type_name(annotation), *limits])}"


def flatten(recipe: Section) -> dict[str, Any]:
    """A recipe as {dotted path: plain value}, in the order of its fields."""

    def walk(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, Mapping):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(walk(recipe.model_dump(mode="json"), ""))


def diff_recipes(a: Section, b: Section) -> list[str]:
    """What differs between two recipes, one `path: value in a → value in b` each; empty when nothing does."""
    left, right = flatten(a), flatten(b)
    absent = "(absent)"
    return [
        f"{key}: {left.get(key, absent)} → {right.get(key, absent)}"
        for key in dict.fromkeys([*left, *right])
        if left.get(key, absent) != right.get(key, absent)
    ]


def dump_recipe(recipe: Section) -> str:
    """The resolved recipe as YAML; `load_recipe` reads the same recipe back from it."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
