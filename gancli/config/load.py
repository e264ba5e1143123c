"""How a recipe is found, inherited, overridden and reported.

A recipe is a YAML file (`recipes/<model>/<dataset>.yaml`). `base: NAME` inherits from one other recipe (one
level), `key=value` overrides are typed as YAML, unknown keys are refused. Every mistake is reported at once
with its dotted path, what was received and what is allowed.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gancli.config.attr2image import Attr2ImageRecipe
from gancli.config.char_cnn_rnn import CharCnnRnnRecipe
from gancli.config.classifier import ClassifierRecipe
from gancli.config.csfgan import CSFGANRecipe
from gancli.config.damsm import DamsmRecipe
from gancli.config.ffgan import FFGANRecipe
from gancli.config.fusion_s2igan import FusionS2iGanRecipe
from gancli.config.sections import Section
from gancli.config.speech import SpeechRecipe
from gancli.config.stackgan import StackGANRecipe
from gancli.errors import ConfigError

ModelRecipe = FFGANRecipe | StackGANRecipe | FusionS2iGanRecipe | CSFGANRecipe | Attr2ImageRecipe
EncoderRecipe = DamsmRecipe | CharCnnRnnRecipe | SpeechRecipe | ClassifierRecipe
Recipe = ModelRecipe | EncoderRecipe
RECIPES: dict[str, type[Recipe]] = {
    "ffgan": FFGANRecipe,
    "stackgan": StackGANRecipe,
    "fusion-s2igan": FusionS2iGanRecipe,
    "csfgan": CSFGANRecipe,
    "attr2image": Attr2ImageRecipe,
    "damsm": DamsmRecipe,
    "char-cnn-rnn": CharCnnRnnRecipe,
    "speech": SpeechRecipe,
    "classifier": ClassifierRecipe,
}


# ---------------------------------------------------------------------------------------------------- finding


def recipes_folder() -> Path:
    """The folder of the shipped recipes: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "_recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes, as `ffgan/cub`, sorted."""
    folder = recipes_folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*.yaml"))


def resolve_recipe_name(kind: str, dataset_name: str, variant: str = "") -> str:
    """The recipe for a model and the name of a dataset.

    Args:
        kind: Folder of the recipes, as `ffgan`.
        dataset_name: `name` of the dataset folder's manifest.
        variant: What follows the dataset's name, as `-stage1`.

    Raises:
        ConfigError: There is no such recipe; the message lists those of that model.
    """
    name = f"{kind}/{dataset_name}{variant}"
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
