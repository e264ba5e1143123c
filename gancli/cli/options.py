"""Options of a command that belong together, as one frozen dataclass.

A Typer command has one parameter for each of its options. `options` makes a class of those that belong together, and a
command that has a parameter of that class gets all of its options:

    @options("Holes")  # the panel of the help that shows them
    class Hole:
        dilate: Annotated[int, typer.Option(min=0, help="Pixels to grow the hole by.")] = 0
        preview: Annotated[Path | None, typer.Option(help="Image to write.")] = None

    @command(app, "inpaint", examples=("gancli inpaint MODEL --image photo.jpg --mask hole.png",))
    def inpaint(out: Output, model: Model, hole: Hole, seed: Seed = 0) -> None:
        if given(hole, "preview"): ...

A field is annotated as a Typer parameter is. Its name is that of the option (`hole_seed` is `--hole-seed`), which is
written out only beside a short form or for a flag that has no `--no-…`. One without a default is required, unless its
`typer.Option` has a `default_factory`. An option in several commands is an alias (`Seed = Annotated[int,
typer.Option(…)]`) or stands in a class that they share; a class may also inherit the fields of another. Checks of a
group go into its `__post_init__`: `UsageError` is reported as usual.
"""

from __future__ import annotations

import copy
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar, dataclass_transform

from typer.models import OptionInfo

T = TypeVar("T")
_PARAMETERS = "__option_parameters__"


@dataclass_transform(kw_only_default=True, frozen_default=True)
def options(panel: str | None = None) -> Callable[[type[T]], type[T]]:
    """Make a class a group of options: a frozen dataclass whose fields `command` turns into options.

    Args:
        panel: Panel of the help for the options that name none themselves.

    Raises:
        TypeError: A field and its option have different names.
    """

    def register(cls: type[T]) -> type[T]:
        cls = dataclass(frozen=True, kw_only=True)(cls)
        own = inspect.get_annotations(cls)
        hints = typing.get_type_hints(cls, include_extras=True)
        parameters = dict(_parameters_of(cls))
        for name in own:
            if typing.get_origin(hints[name]) is Annotated:
                default = getattr(cls, name, inspect.Parameter.empty)
                annotation = _in_panel(name, hints[name], panel)
                kind = inspect.Parameter.KEYWORD_ONLY
                parameters[name] = inspect.Parameter(name, kind, default=default, annotation=annotation)
        setattr(cls, _PARAMETERS, parameters)
        return cls

    return register


def flattened(parameters: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    """Return a command's parameters with the options of each group in place of the group.

    Raises:
        TypeError: An option appears twice.
    """
    result: dict[str, inspect.Parameter] = {}
    for parameter in parameters:
        for option in _parameters_of(parameter.annotation).values() or (parameter,):
            if option.name in result:
                raise TypeError(f"the option {option.name!r} appears twice")
            result[option.name] = option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    return list(result.values())


def grouped(parameters: Iterable[inspect.Parameter], values: Mapping[str, object]) -> dict[str, object]:
    """Return a command's arguments, the groups among them made of the values of their options."""
    result: dict[str, object] = {}
    for parameter in parameters:
        names = _parameters_of(parameter.annotation)
        if names:
            result[parameter.name] = parameter.annotation(**{name: values[name] for name in names})
        else:
            result[parameter.name] = values[parameter.name]
    return result


def given(group: object, *names: str) -> list[str]:
    """Return the options of a group whose value is not their default, as the user types them ("--hole-seed").

    Args:
        group: An instance of a class made by `options`.
        names: Fields to look at; all of them without any.
    """
    parameters = _parameters_of(type(group))
    # Typer hands on an option that may repeat as an empty list where it is not used
    return [
        flag(name)
        for name in names or parameters
        if getattr(group, name) not in (parameters[name].default, [])
    ]


def flag(name: str) -> str:
    """Return the option of a field: "--hole-seed" of hole_seed, "-n" of n."""
    return ("-" if len(name) == 1 else "--") + name.replace("_", "-")


def _parameters_of(annotation: object) -> Mapping[str, inspect.Parameter]:
    parameters: Mapping[str, inspect.Parameter] = getattr(annotation, _PARAMETERS, {})
    return parameters


def _in_panel(name: str, annotation: object, panel: str | None) -> object:
    """Return an annotation whose option is in a panel; a copy, as other commands may use the same one."""
    kind, *extras = typing.get_args(annotation)
    moved = []
    for extra in extras:
        if isinstance(extra, OptionInfo):
            # In an Annotated the first of the names is in the place of the default
            names = "/".join(n for n in (extra.default, *(extra.param_decls or ())) if isinstance(n, str))
            if names and flag(name) not in names.split("/"):
                raise TypeError(f"{name}: its option has to be {flag(name)}")
            extra = copy.copy(extra)
            extra.rich_help_panel = extra.rich_help_panel or panel
        moved.append(extra)
    return Annotated[(kind, *moved)]
