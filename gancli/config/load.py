"""Find, inherit, override, choose, compare and write recipes.

A recipe is a YAML file (`recipes/<model>/<dataset>.yaml`). `base: NAME` inherits from another recipe,
`key=value` overrides are typed as YAML, unknown keys are refused. All mistakes are reported at once, each with its
dotted path, what was received and what is allowed.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gancli.config.sections import BaseRecipe, Section
from gancli.errors import ConfigError
from gancli.registry import ROWS, resolve

ABSENT = "(absent)"
_LEARNED = frozenset(
    {"model", "discriminator", "loss", "optim", "holes", "condition", "text", "attributes", "loader"}
)
_NOT_LEARNED = frozenset({"loader.batch", "loader.workers"})


def recipe_type(kind: str) -> type[BaseRecipe]:
    """Return the class of a model's or an encoder's recipe."""
    found: type[BaseRecipe] = resolve(ROWS[kind].recipe)
    return found


# ---------------------------------------------------------------------------------------------------- finding


def recipes_folder() -> Path:
    """Return the folder of the shipped recipes: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "_recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes, such as `ffgan/cub`, sorted."""
    folder = recipes_folder()
    paths = (path for path in folder.glob("*/*.yaml") if path.parent.name != "tables")  # the papers' tables
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in paths)


def choose_recipe(
    kind: str, dataset: str, image_size: int, overrides: Sequence[str] = ()
) -> tuple[str, BaseRecipe]:
    """Choose the shipped recipe for a dataset and the size of its images.

    A recipe fits that trains on no larger images than the dataset has, after the overrides. The one named by the
    dataset alone comes first, then a variant of it made for exactly this size.

    Args:
        kind: Model or encoder.
        dataset: Name in the dataset folder's manifest.
        image_size: Side in pixels that the dataset was prepared at.
        overrides: `dotted.key=value`. A `stage=…` among them chooses between the stages of a model.

    Returns:
        Name and recipe.

    Raises:
        ConfigError: No recipe fits, with those that come near, or the overrides have mistakes.
    """
    known = {name: load_recipe(name) for name in recipe_names() if name.startswith(f"{kind}/")}
    variant = _variant(kind, overrides)
    same_stage = {name: recipe for name, recipe in known.items() if recipe.variant == variant}
    named = {
        name: recipe for name, recipe in same_stage.items() if f"{name}-".startswith(f"{kind}/{dataset}-")
    }
    if not named:
        raise ConfigError(
            f"there is no recipe for {kind} on a dataset named {dataset!r}",
            f"Name one yourself with --recipe: {', '.join(known) or 'a path to a YAML file'}.",
        )
    plain = f"{kind}/{dataset}" + (f"-{variant}" if variant else "")
    if plain in named:
        named[plain] = load_recipe(plain, overrides, kind)
    if name := _fitting(named, plain, image_size):
        return name, load_recipe(name, overrides, kind)
    sizes = ", ".join(f"{name} ({recipe.image_size} pixels)" for name, recipe in named.items())
    smaller = _up_to(image_size, named) or _up_to(image_size, same_stage)
    first = named.get(plain) or next(iter(named.values()))
    raise ConfigError(
        f"no recipe of {kind} is for the {image_size} pixels that dataset {dataset!r} was prepared at: {sizes}",
        f"Set {first.size_override(image_size)}"
        + (f", or take --recipe {' or '.join(smaller)}" if smaller else "")
        + f", or prepare the data with --image-size {first.image_size}.",
    )


def _fitting(named: Mapping[str, BaseRecipe], plain: str, image_size: int) -> str | None:
    """Return the first of a dataset's recipes, `plain` before others, that fits its images; None where none does."""
    for name in sorted(named, key=lambda name: (name != plain, name)):
        size = named[name].image_size
        if size is None or size == image_size or (name == plain and size < image_size):
            return name
    return plain if plain in named and named[plain].resizes else None


def _up_to(image_size: int, recipes: Mapping[str, BaseRecipe]) -> list[str]:
    return [name for name, recipe in recipes.items() if (recipe.image_size or 0) <= image_size]


def _variant(kind: str, overrides: Sequence[str]) -> str:
    """Return the variant of the stage that overrides name, of the first stage where they name none."""
    if "stage" not in recipe_type(kind).model_fields:
        return ""
    stages = [str(stage) for stage in typing.get_args(recipe_type(kind).model_fields["stage"].annotation)]
    stage = next((text.partition("=")[2] for text in overrides if text.startswith("stage=")), stages[0])
    if stage not in stages:
        raise ConfigError(
            f"stage: received {stage!r}, allowed: {', '.join(stages)}",
            f"stage={stages[1]} stands on a trained stage={stages[0]}.",
        )
    return stage if not stage.isdigit() else f"stage{stage}"


def _recipe_path(name_or_path: str | Path) -> Path:
    """Return the file of a recipe. A shipped name wins over a file of the same name without suffix."""
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

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
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
    """Lay one mapping over another: sections are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _inherit(content: dict[str, Any], path: Path, heirs: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Merge a recipe with its `base:`, a recipe beside it or a shipped one, which may have a base itself.

    `heirs` are the recipes that inherit from this one.
    """
    if "base" not in content:
        return content
    base = content.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: received {base!r}, allowed: the name of one recipe")
    beside = path.parent / f"{base}.yaml"
    base_path = beside if beside.is_file() else _recipe_path(base)
    heirs = (*heirs, path.resolve())
    if base_path.resolve() in heirs:
        raise ConfigError(f"{path}: base: {base!r} inherits from this recipe itself")
    return _merge(_inherit(_read_yaml(base_path), base_path, heirs), content)


def _apply_override(content: dict[str, Any], override: str) -> str | None:
    """Set one `key=value` in place, and return what is wrong with it, if anything."""
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


def load_recipe(
    name_or_path: str | Path, overrides: str | Sequence[str] = (), kind: str | None = None
) -> BaseRecipe:
    """Read, inherit, override and validate a recipe.

    Args:
        name_or_path: Name of a shipped recipe (`ffgan/cub`) or path of a YAML file.
        overrides: `dotted.key=value`, one or many, the value typed as YAML.
        kind: Model or encoder that it has to be; None takes what `model.name` says.

    Raises:
        ConfigError: The recipe does not exist, is no YAML, or has mistakes; all of them are in the message.
    """
    path = _recipe_path(name_or_path)
    overrides = [overrides] if isinstance(overrides, str) else overrides
    content = _merge({}, _inherit(_read_yaml(path), path))  # a copy that overrides may write into
    mistakes = [mistake for override in overrides if (mistake := _apply_override(content, override))]

    model = content.get("model")
    named = model.get("name") if isinstance(model, dict) else None
    wanted = kind or named
    if not isinstance(wanted, str) or wanted not in ROWS:
        mistakes.append(f"model.name: received {wanted!r}, allowed: {_choices(ROWS)}")
        raise _config_error(path, mistakes)
    if kind and isinstance(named, str) and named != kind:
        raise ConfigError(f"{path}: this is a recipe of {named!r}, but one of {kind!r} is needed")
    if isinstance(model, dict):
        model.setdefault("name", wanted)
    known = recipe_type(wanted)
    try:
        recipe = known.model_validate(content)
    except ValidationError as error:
        mistakes += [_describe(details, known) for details in error.errors()]
    if mistakes:
        raise _config_error(path, mistakes)
    return recipe


# -------------------------------------------------------------------------------------------------- reporting


def _config_error(path: Path, mistakes: Sequence[str]) -> ConfigError:
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return ConfigError("\n".join([f"{path}: {count}", *(f"  {mistake}" for mistake in mistakes)]))


def _choices(values: Iterable[object]) -> str:
    return ", ".join(repr(value) for value in values)


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every value of a recipe type."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _nearest_keys(unknown: str, recipe_type: type[BaseModel]) -> list[str]:
    """Return the known keys that an unknown one probably stands for, nearest first.

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
    """Return the annotation of the field at a pydantic error location; None where it leads nowhere."""
    annotation: Any = recipe_type
    for part in loc:
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        if part not in annotation.model_fields:
            break
        annotation = annotation.model_fields[str(part)].annotation
    return annotation


def _type_name(annotation: Any) -> str:
    """Return an annotation in a recipe writer's words."""
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
    """Return a pydantic error as `dotted.path: received …, allowed: …`."""
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
    if "url" not in details:  # a rule of our own: pydantic's link to its documentation
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


def flatten(recipe: Section) -> dict[str, object]:
    """Return a recipe as {dotted path: plain value}, in the order of its fields."""

    def walk(values: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
        for key, value in values.items():
            if isinstance(value, Mapping):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(walk(recipe.model_dump(mode="json"), ""))


def differences(a: Section, b: Section) -> dict[str, tuple[object, object]]:
    """Return the values of two recipes where they differ, by dotted path; `ABSENT` where one has no such key."""
    left, right = flatten(a), flatten(b)
    pairs = {key: (left.get(key, ABSENT), right.get(key, ABSENT)) for key in dict.fromkeys([*left, *right])}
    return {key: (x, y) for key, (x, y) in pairs.items() if x != y}


def diff_recipes(a: Section, b: Section) -> list[str]:
    """Return the differences of two recipes as lines, `path: value in a → value in b`."""
    return [f"{key}: {x} → {y}" for key, (x, y) in differences(a, b).items()]


def paper_recipe(recipe: BaseRecipe, dataset: str) -> str | None:
    """Return the name of the shipped recipe with the paper's values for a dataset; None where there is none."""
    name = f"{recipe.paper}/{dataset}" + (f"-{recipe.variant}" if recipe.variant else "")
    return name if dataset != "demo" and name in recipe_names() else None


def differences_from_paper(recipe: BaseRecipe, dataset: str) -> list[dict[str, object]]:
    """Return the settings in which a recipe differs from its paper's recipe for a dataset, as `{key, paper, here}`.

    Only settings of what is learned count: networks, losses, rates, holes, condition, and the contents of a batch. Its
    size, the length of the training and its folders do not. Empty where the paper has no recipe for the dataset.
    """
    name = paper_recipe(recipe, dataset)
    if name is None:
        return []
    return [
        {"key": key, "paper": paper, "here": here}
        for key, (paper, here) in differences(load_recipe(name), recipe).items()
        if key.partition(".")[0] in _LEARNED and key not in _NOT_LEARNED
    ]


def dump_recipe(recipe: Section) -> str:
    """Return the resolved recipe as YAML, from which `load_recipe` reads the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
