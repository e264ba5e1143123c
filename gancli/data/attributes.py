"""Attributes of an image: their names, those that a silhouette shows, and the way users write them.

Names are those of CUB-200-2011's attributes.txt, `has_<group>::<value>`. attribute_groups.csv says of each group if the
silhouette or the inside of the image shows it, and if a bird has one of its values or any number of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli.csv_files import read_csv
from gancli.data.sources.reading import read_text
from gancli.errors import DataError, UsageError

GROUPS_FILE = Path(__file__).with_name("attribute_groups.csv")
"""A row per group, in CUB's order: `group`, `part` (shape or appearance), `values` (one or any)."""

PRESENT = 0.5
"""Least number of a present attribute, where attributes are more than yes or no."""

_CREST = ("head_pattern", "crested")


@dataclass(frozen=True)
class AttributeSplit:
    """Columns of the attributes that a silhouette shows, and of the others, each in ascending order."""

    shape: tuple[int, ...]
    appearance: tuple[int, ...]


def split_name(name: str) -> tuple[str, str]:
    """Split an attribute's name into group and value.

    `has_size::small_(5_-_9_in)` is ("size", "small_(5_-_9_in)"). A name without `::` is a group of its own, with
    "yes" as its only value: `has_long_legs` is ("long_legs", "yes").
    """
    group, _, value = name.removeprefix("has_").partition("::")
    return group, value or "yes"


def split_attributes(
    names: Sequence[str],
    *,
    crest_is_shape: bool = False,
    drop_size: bool = False,
    shape_groups: Sequence[str] | None = None,
) -> AttributeSplit:
    """Divide attributes into those for the stage of shapes and those for the stage of images.

    Args:
        names: Names of all attributes, in the order of their columns.
        crest_is_shape: Move `head_pattern::crested` to the shape, if there is such an attribute.
        drop_size: Leave out the group `size`, which an image cropped to the bird no longer shows.
        shape_groups: Groups that a silhouette shows; None for those of attribute_groups.csv, 42 of CUB's 312
            attributes. Groups that the file does not list are appearance.

    Raises:
        DataError: No shape attribute is left.
        UsageError: `shape_groups` names a group that is neither among `names` nor in the file.
    """
    columns = _columns_of(names)
    if shape_groups is None:
        shaped = {group for group, (part, _) in _groups().items() if part == "shape"}
    else:
        known = [*columns, *(group for group in _groups() if group not in columns)]
        shaped = {_find_group(group, known, "shape groups") for group in shape_groups}
    shape: list[int] = []
    appearance: list[int] = []
    for column, name in enumerate(names):
        group, value = split_name(name)
        if drop_size and group == "size":
            continue
        is_shape = group in shaped or (crest_is_shape and (group, value) == _CREST)
        (shape if is_shape else appearance).append(column)
    if not shape:
        raise DataError(
            f"none of the {len(names)} attributes describes a shape: the groups of shape are"
            f" {', '.join(sorted(shaped)) or 'none'}{', without size' if drop_size else ''},"
            f" those of the dataset {', '.join(columns) or 'none'}",
            hint="choose the groups that a silhouette shows with shape_groups",
        )
    return AttributeSplit(tuple(shape), tuple(appearance))


def attributes_text(values: NDArray[np.float32], names: Sequence[str]) -> str:
    """Return attributes as text that `parse_attributes` reads back: "bill_shape=cone, size=small_(5_-_9_in)".

    Args:
        values: (A,) in [0, 1]; from 0.5 on an attribute is present.
        names: Names of the A attributes, without commas. The text lists the present ones in this order.
    """
    pairs = (split_name(name) for name, value in zip(names, values, strict=True) if value >= PRESENT)
    return ", ".join(f"{group}={value}" for group, value in pairs)


def parse_attributes(requests: str | Sequence[str], names: Sequence[str]) -> NDArray[np.float32]:
    """Return the attributes that a user asks for, (A,) float32: 1 for the requested ones, 0 for all others.

    Args:
        requests: One or many texts, each `group=value` or several of them separated by commas. Case, a leading `has_`,
            British or American spelling and the choice of blank, `-` or `_` do not matter. A value may be shortened as
            long as it stays unambiguous, and one such as `small_(5_-_9_in)` may omit its brackets.
        names: Names of all A attributes.

    Raises:
        UsageError: A request is not of that form, or names a group or value that does not exist.
    """
    requests = [requests] if isinstance(requests, str) else requests
    columns = _columns_of(names)
    values = np.zeros(len(names), np.float32)
    for request in (part.strip() for text in requests for part in text.split(",")):
        if request:
            values[_find_column(request, columns)] = 1
    return values


def contradictions(values: NDArray[np.float32], names: Sequence[str]) -> list[str]:
    """Return the values that no bird has together: "size: small_(5_-_9_in) and large_(16_-_32_in)".

    Each group of which a bird has one value, but several are present, gives a line. Two colours are no contradiction.

    Args:
        values: (A,) in [0, 1]; from 0.5 on an attribute is present.
        names: Names of the A attributes.
    """
    present: dict[str, list[str]] = {}
    for name, value in zip(names, values, strict=True):
        group, meaning = split_name(name)
        if value >= PRESENT and _groups().get(group, ("", ""))[1] == "one":
            present.setdefault(group, []).append(meaning)
    several = ((group, found) for group, found in present.items() if len(found) > 1)
    return [f"{group}: {', '.join(found[:-1])} and {found[-1]}" for group, found in several]


def contradictory_groups(values: NDArray[np.float32], names: Sequence[str]) -> dict[str, int]:
    """Count the images with contradictions in each group that has any, in the order of `names`.

    Args:
        values: (N, A) in [0, 1].
        names: Names of the A attributes.
    """
    counts = {}
    for group, columns in _columns_of(names).items():
        if _groups().get(group, ("", ""))[1] == "one":
            present = values[:, list(columns.values())] >= PRESENT  # (N, values of the group)
            counts[group] = int((present.sum(axis=1) > 1).sum())
    return {group: count for group, count in counts.items() if count}


def read_attribute_file(path: str | Path, names: Sequence[str]) -> list[NDArray[np.float32]]:
    """Read the attributes of one image per line, as `parse_attributes` reads them: "primary_color=red, size=small".

    Args:
        path: UTF-8 text file. Blank lines and lines that start with # are skipped.
        names: Names of all A attributes.

    Returns:
        (A,) float32 for each image, in file order; at least one.

    Raises:
        DataError: The file cannot be read, a line is wrong, or there are no lines.
    """
    path = Path(path)
    images = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            images.append(parse_attributes([line], names))
        except UsageError as error:
            raise DataError(f"{path}:{number}: {error}", error.hint) from None
    if not images:
        hint = "write those of one image on each line, such as primary_color=red, size=small"
        raise DataError(f"{path}: holds no attributes", hint)
    return images


@cache
def _groups() -> Mapping[str, tuple[str, str]]:
    """Return {group: (part, values)} of `GROUPS_FILE`."""
    rows = read_csv(GROUPS_FILE).to_dict("records")
    return {str(row["group"]): (str(row["part"]), str(row["values"])) for row in rows}


def _columns_of(names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return {group: {value: column}}, in the order of `names`."""
    columns: dict[str, dict[str, int]] = {}
    for column, name in enumerate(names):
        group, value = split_name(name)
        columns.setdefault(group, {})[value] = column
    return columns


def _plain(text: str) -> str:
    """Return text without the differences in spelling that do not matter."""
    text = re.sub(r"[-_\s]+", "_", text.strip().casefold())
    return text.replace("colour", "color").replace("gray", "grey")


def _find_column(request: str, columns: Mapping[str, Mapping[str, int]]) -> int:
    """Return the column that `request` ("size=small") means."""
    group, equals, value = (part.strip() for part in request.partition("="))
    if not equals:
        raise _without_value(request, columns)
    group = _find_group(group, list(columns), f"the attribute {request!r}")
    values = columns[group]
    if value in values:
        return values[value]
    asked = _plain(value)
    plain = {known: _plain(known) for known in values}
    # In this order: hooked is a value of its own, though hooked_seabird starts like it
    exact = [known for known, text in plain.items() if text == asked]
    unbracketed = [known for known, text in plain.items() if text.partition("_(")[0] == asked]
    shortened = [known for known, text in plain.items() if text.startswith(asked)]
    found = exact or unbracketed or (shortened if asked else [])
    if len(found) == 1:
        return values[found[0]]
    if found:
        meant = f" or {group}=".join(found)
        raise UsageError(f"the attribute {request!r} could be {group}={meant}", "write out more of it")
    near = _nearest(asked, plain)
    raise UsageError(
        f"the attribute {request!r}: {group} has no value {value!r}",
        f"{f'did you mean {group}={near}? ' if near else ''}{group} is one of {', '.join(values)}",
    )


def _find_group(asked: str, known: Sequence[str], what: str) -> str:
    """Return the one of the `known` groups that `asked` means; `what` opens the message if there is none."""
    if asked in known:
        return asked
    plain = {group: _plain(group) for group in known}
    wanted = _plain(asked).removeprefix("has_")
    for group, text in plain.items():
        if text == wanted:
            return group
    near = _nearest(wanted, plain)
    raise UsageError(
        f"{what}: there is no group {asked!r}",
        f"{f'did you mean {near}? ' if near else ''}the groups are {', '.join(known) or 'none: no attributes'}",
    )


def _without_value(request: str, columns: Mapping[str, Mapping[str, int]]) -> UsageError:
    """Return the error for a request without "=", with suggestions for its other side."""
    message = f"the attribute {request!r} has no '='"
    asked = _plain(request).removeprefix("has_")
    for group, values in columns.items():
        if _plain(group) == asked:
            return UsageError(message, f"write {group}=VALUE; {group} is one of {', '.join(values)}")
    pairs = [(group, value) for group, values in columns.items() for value in values]
    meant = [f"{group}={value}" for group, value in pairs if _plain(value) == asked]
    examples = meant or [f"{group}={next(iter(values))}" for group, values in columns.items()]
    return UsageError(message, f"write GROUP=VALUE, such as {' or '.join(examples[:3])}")


def _nearest(asked: str, plain: Mapping[str, str]) -> str | None:
    """Return the key of `plain` whose spelling is nearest to `asked`; None if none is near."""
    close = difflib.get_close_matches(asked, list(plain.values()), n=1)
    return next((known for known, text in plain.items() if text in close), None)
