"""Attributes: the split into shape and appearance, what users may write for them, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancli.data.attributes import (
    AttributeSplit,
    attributes_text,
    contradictions,
    contradictory_groups,
    parse_attributes,
    read_attribute_file,
    split_attributes,
    split_name,
)
from gancli.data.sources.demo import dataset as demo
from gancli.errors import DataError, UsageError

COLORS = "blue brown iridescent purple rufous grey yellow olive green pink orange black white red buff"
PATTERNS = "solid spotted striped multi-colored"
_VALUES = {
    "bill_shape": (
        "curved_(up_or_down) dagger hooked needle hooked_seabird spatulate all-purpose cone specialized"
    ),
    "wing_color": COLORS,
    "upperparts_color": COLORS,
    "underparts_color": COLORS,
    "breast_pattern": PATTERNS,
    "back_color": COLORS,
    "tail_shape": "forked_tail rounded_tail notched_tail fan-shaped_tail pointed_tail squared_tail",
    "upper_tail_color": COLORS,
    "head_pattern": (
        "spotted malar crested masked unique_pattern eyebrow eyering plain eyeline striped capped"
    ),
    "breast_color": COLORS,
    "throat_color": COLORS,
    "eye_color": COLORS.replace("iridescent ", ""),
    "bill_length": "about_the_same_as_head longer_than_head shorter_than_head",
    "forehead_color": COLORS,
    "under_tail_color": COLORS,
    "nape_color": COLORS,
    "belly_color": COLORS,
    "wing_shape": "rounded-wings pointed-wings broad-wings tapered-wings long-wings",
    "size": (
        "large_(16_-_32_in) small_(5_-_9_in) very_large_(32_-_72_in) medium_(9_-_16_in) very_small_(3_-_5_in)"
    ),
    "shape": (
        "upright-perching_water-like chicken-like-marsh long-legged-like duck-like owl-like"
        " gull-like hummingbird-like pigeon-like tree-clinging-like hawk-like sandpiper-like"
        " upland-ground-like swallow-like perching-like"
    ),
    "back_pattern": PATTERNS,
    "tail_pattern": PATTERNS,
    "belly_pattern": PATTERNS,
    "primary_color": COLORS,
    "leg_color": COLORS,
    "bill_color": COLORS,
    "crown_color": COLORS,
    "wing_pattern": PATTERNS,
}
CUB_GROUPS = {group: values.split() for group, values in _VALUES.items()}
CUB = tuple(f"has_{group}::{value}" for group, values in CUB_GROUPS.items() for value in values)
SHAPE_GROUPS = {"bill_shape", "tail_shape", "bill_length", "wing_shape", "size", "shape"}


def parsed(*requests: str, names: tuple[str, ...] = CUB) -> str:
    """The text of what `requests` mean."""
    return attributes_text(parse_attributes(requests, names), names)


def groups(columns: tuple[int, ...], names: tuple[str, ...] = CUB) -> set[str]:
    return {split_name(names[column])[0] for column in columns}


def test_the_names_here_are_cubs_own(shared_data: Path) -> None:
    listed = (shared_data / "cub/attributes.txt").read_text().splitlines()
    assert [line.split()[1] for line in listed] == list(CUB)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("has_size::small_(5_-_9_in)", ("size", "small_(5_-_9_in)")),
        ("size::small", ("size", "small")),
        ("has_long_legs", ("long_legs", "yes")),
        ("Smiling", ("Smiling", "yes")),
    ],
)
def test_names_fall_into_group_and_value(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts


# ----------------------------------------------------------------------------------------------------------
# The split


def test_the_split_of_cub_is_42_and_270() -> None:
    split = split_attributes(CUB)
    assert (len(split.shape), len(split.appearance)) == (42, 270)
    assert sorted(split.shape + split.appearance) == list(range(312))
    assert split.shape == tuple(sorted(split.shape))
    assert split.appearance == tuple(sorted(split.appearance))
    assert groups(split.shape) == SHAPE_GROUPS
    assert not groups(split.appearance) & SHAPE_GROUPS


def test_the_crest_may_count_as_shape() -> None:
    split = split_attributes(CUB, crest_is_shape=True)
    assert (len(split.shape), len(split.appearance)) == (43, 269)
    assert set(split.shape) - set(split_attributes(CUB).shape) == {CUB.index("has_head_pattern::crested")}


def test_size_may_be_left_out_of_both() -> None:
    split = split_attributes(CUB, drop_size=True)
    assert (len(split.shape), len(split.appearance)) == (37, 270)
    assert "size" not in groups(split.shape + split.appearance)
    other = split_attributes(CUB, drop_size=True, shape_groups=["shape"])
    assert "size" not in groups(other.shape + other.appearance)


def test_own_groups_of_shape() -> None:
    split = split_attributes(CUB, shape_groups=["Has_Wing shape", "primary_color"])
    assert groups(split.shape) == {"wing_shape", "primary_color"}
    assert len(split.shape + split.appearance) == 312
    # one that CUB has, but this dataset has not, is no mistake
    assert groups(
        split_attributes(demo.ATTRIBUTES, shape_groups=["size", "wing_shape"]).shape, demo.ATTRIBUTES
    ) == {"size"}
    with pytest.raises(UsageError, match="'wing_shap'") as caught:
        split_attributes(CUB, shape_groups=["wing_shap"])
    assert "wing_shape?" in str(caught.value.hint)


def test_the_demo_dataset_has_both_parts() -> None:
    split = split_attributes(demo.ATTRIBUTES)
    assert groups(split.shape, demo.ATTRIBUTES) == {"bill_shape", "tail_shape", "bill_length", "size"}
    assert "background" in groups(split.appearance, demo.ATTRIBUTES)


def test_unknown_groups_are_appearance() -> None:
    names = ("has_hat::yes", "has_size::small", "tall")
    assert split_attributes(names) == AttributeSplit(shape=(1,), appearance=(0, 2))


@pytest.mark.parametrize(
    ("names", "drop_size"), [((), False), (("has_wing_color::red",), False), (("has_size::small",), True)]
)
def test_a_dataset_without_shape_attributes_is_refused(names: tuple[str, ...], drop_size: bool) -> None:
    with pytest.raises(DataError, match=f"none of the {len(names)} attributes") as caught:
        split_attributes(names, drop_size=drop_size)
    assert "bill_shape" in str(caught.value)
    assert "shape_groups" in str(caught.value.hint)


# ----------------------------------------------------------------------------------------------------------
# Text


def test_text_names_the_present_in_order() -> None:
    values = np.zeros(312, np.float32)
    assert attributes_text(values, CUB) == ""
    for name, value in (
        ("size::small_(5_-_9_in)", 0.5),
        ("bill_shape::cone", 1),
        ("size::large_(16_-_32_in)", 0.49),
    ):
        values[CUB.index(f"has_{name}")] = value
    assert attributes_text(values, CUB) == "bill_shape=cone, size=small_(5_-_9_in)"


@given(st.sets(st.integers(0, len(CUB) - 1)))
def test_text_is_read_back(present: set[int]) -> None:
    values = np.zeros(len(CUB), np.float32)
    values[list(present)] = 1
    text = attributes_text(values, CUB)
    for requests in (text.split(", "), [text]):
        read = parse_attributes(requests, CUB)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, values)


def test_names_without_values_are_read_back() -> None:
    names = ("Smiling", "has_hat", "size::small")
    assert parsed("smiling=yes", "hat=y", "size=small", names=names) == "Smiling=yes, hat=yes, size=small"


@pytest.mark.parametrize(
    ("request_", "meaning"),
    [
        ("primary_color=red", "primary_color=red"),
        ("has_primary_color=red", "primary_color=red"),
        ("  Primary-Color = RED ", "primary_color=red"),
        ("primary colour=gray", "primary_color=grey"),
        ("size=small", "size=small_(5_-_9_in)"),
        ("size=very small", "size=very_small_(3_-_5_in)"),
        ("size=small (5-9 in)", "size=small_(5_-_9_in)"),
        ("size=very_s", "size=very_small_(3_-_5_in)"),
        ("bill_shape=hooked", "bill_shape=hooked"),
        ("bill_shape=hooked sea", "bill_shape=hooked_seabird"),
        ("bill_shape=curved", "bill_shape=curved_(up_or_down)"),
        ("tail_shape=fan", "tail_shape=fan-shaped_tail"),
        ("wing_pattern=multi_colored", "wing_pattern=multi-colored"),
        ("wing_pattern=multi-coloured", "wing_pattern=multi-colored"),
        ("size=small,bill_shape=cone,", "bill_shape=cone, size=small_(5_-_9_in)"),
        ("", ""),
    ],
)
def test_requests_may_be_written_freely(request_: str, meaning: str) -> None:
    assert parsed(request_) == meaning


def test_repeated_requests_add_up() -> None:
    assert parsed("primary_color=red", "primary_color=black,size=small", "primary_color=red") == (
        "size=small_(5_-_9_in), primary_color=black, primary_color=red"
    )
    assert parsed() == ""


@pytest.mark.parametrize(
    ("request_", "message", "hints"),
    [
        ("primry_color=red", "'primry_color=red': there is no group 'primry_color'", ["mean primary_color?", "size"]),
        ("plumage=red", "no group 'plumage'", ["the groups are bill_shape, wing_color"]),
        ("=red", "'=red': there is no group ''", ["the groups are bill_shape"]),
        ("primary_color=crimson", "primary_color has no value 'crimson'", ["primary_color is one of blue, brown,"]),
        ("tail_shape=forkd_tail", "no value 'forkd_tail'", ["mean tail_shape=forked_tail?", "squared_tail"]),
        ("size=", "size has no value ''", ["size is one of large_"]),
        ("size=very", r"could be size=very_large_\(32_-_72_in\) or size=very_small_\(3_-_5_in\)", ["write out"]),
        ("size", "'size' has no '='", ["write size=VALUE", "medium_(9_-_16_in)"]),
        ("cone", "'cone' has no '='", ["such as bill_shape=cone"]),
        ("a red bird", "'a red bird' has no '='", ["write GROUP=VALUE, such as bill_shape="]),
        ("primary_color=red,black", "'black' has no '='", ["wing_color=black"]),
    ],
)  # fmt: skip
def test_wrong_requests_are_explained(request_: str, message: str, hints: list[str]) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_attributes(["size=small", request_], CUB)
    assert all(hint in str(caught.value.hint) for hint in hints)


@given(
    st.lists(st.text(max_size=12) | st.sampled_from([*CUB_GROUPS, "=", *COLORS.split(), " ", ","])).map(
        "".join
    )
)
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        values = parse_attributes([text], CUB)
    except UsageError:
        return
    assert set(values) <= {0, 1}


# ----------------------------------------------------------------------------------------------------------
# Contradictions


def test_several_values_contradict_only_where_a_bird_has_one() -> None:
    asked = parse_attributes(["size=small,size=large,size=medium,primary_color=red,primary_color=blue"], CUB)
    assert contradictions(asked, CUB) == ["size: large_(16_-_32_in), small_(5_-_9_in) and medium_(9_-_16_in)"]
    for group in SHAPE_GROUPS - {"wing_shape"}:  # CUB's annotators ticked several shapes of a wing
        first, second = CUB_GROUPS[group][:2]
        found = contradictions(parse_attributes([f"{group}={first}", f"{group}={second}"], CUB), CUB)
        assert found == [f"{group}: {first} and {second}"]
    assert contradictions(parse_attributes(["size=small", "shape=duck", "wing_color=red"], CUB), CUB) == []


def test_contradictions_of_shares_and_of_unknown_groups() -> None:
    names = ("has_background::rock", "has_background::water", "has_hat::red", "has_hat::blue")
    assert contradictions(np.array([0.5, 0.6, 1, 1], np.float32), names) == ["background: rock and water"]
    assert contradictions(np.array([0.5, 0.4, 1, 1], np.float32), names) == []


def test_contradictions_of_many_images_are_counted() -> None:
    rows = (
        "size=small,size=large",
        "shape=duck,shape=owl,size=small,size=large",
        "size=small,wing_color=red",
        "",
    )
    values = np.stack([parse_attributes([row], CUB) for row in rows])
    assert contradictory_groups(values, CUB) == {"size": 2, "shape": 1}
    assert contradictory_groups(values[2:], CUB) == {}
    assert contradictory_groups(np.zeros((0, 312), np.float32), CUB) == {}


# ----------------------------------------------------------------------------------------------------------
# Files of requests


def test_a_file_holds_a_image_a_line(tmp_path: Path) -> None:
    file = tmp_path / "wanted.txt"
    file.write_bytes(
        "\ufeff# two birds\r\n\r\nprimary_color=red, size=small\r\n  # and\n  Bill shape=cone\n".encode()
    )
    images = read_attribute_file(file, CUB)
    assert [attributes_text(values, CUB) for values in images] == [
        "size=small_(5_-_9_in), primary_color=red",
        "bill_shape=cone",
    ]


def test_a_wrong_line_of_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "wanted.txt"
    file.write_text("# header\nsize=small\n\nsize=tiny\n")
    with pytest.raises(DataError, match=r"size has no value 'tiny'") as caught:
        read_attribute_file(file, CUB)
    assert str(caught.value).startswith(f"{file}:4: ")
    assert "size is one of" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"# nothing\n\n", "holds no attributes"), (b"size=small\n\xe9\n", r":2: not UTF-8"), (None, "cannot be read")],
)  # fmt: skip
def test_files_that_are_none(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "wanted.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_attribute_file(file, CUB)
    assert str(file) in str(caught.value)
