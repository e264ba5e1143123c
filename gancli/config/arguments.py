"""From the sections of a recipe to the arguments of a constructor, by name.

A field of a recipe and the constructor argument that takes its value have the same name, so no mapping is written by
hand. The default stands in the recipe's section only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

from gancli.config.sections import Section

Built = TypeVar("Built")


def arguments_of(
    constructor: Callable[..., object], /, *sections: Section, **known: object
) -> dict[str, object]:
    """Return the arguments of a constructor that sections of a recipe hold under the same name.

    Args:
        constructor: Class or function to look up the parameters of.
        sections: Sections of a recipe. Their fields without a parameter of the same name are left out.
        known: Further arguments. They replace fields of the same name.

    Returns:
        Values by argument name, in the constructor's order. Arguments found nowhere are left out.

    Raises:
        TypeError: The constructor has no argument of a name in `known`, or two sections hold the same argument.
    """
    names = inspect.signature(constructor).parameters
    name_of = getattr(constructor, "__name__", repr(constructor))
    if unknown := [name for name in known if name not in names]:
        raise TypeError(f"{name_of} takes no argument {', '.join(unknown)}")
    found: dict[str, object] = {}
    for section in sections:
        for name in type(section).model_fields.keys() & names.keys() - known.keys():
            if name in found:
                raise TypeError(f"{name_of}: two sections hold a value for {name}")
            found[name] = getattr(section, name)
    found |= known
    return {name: found[name] for name in names if name in found}


def construct(constructor: Callable[..., Built], /, *sections: Section, **known: object) -> Built:
    """Call a constructor with the arguments that `arguments_of` returns.

    Raises:
        TypeError: `arguments_of` refuses the names, or an argument without default is missing.
    """
    return constructor(**arguments_of(constructor, *sections, **known))
