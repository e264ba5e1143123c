"""Hole settings survive a file, compare by their fields, and refuse fields that say nothing."""

import json

import pytest

from gancli.data.hole_settings import HoleSettings
from gancli.data.holes import Holes

ALL = [
    (Holes(), {"kind": "center", "center": 0.5}, "center 0.5"),
    (Holes("irregular", least=0), {"kind": "irregular", "least": 0.0, "most": 0.5}, "irregular 0.0 to 0.5"),
    (
        Holes("mix", center=0.25),
        {"kind": "mix", "center": 0.25, "least": 0.1, "most": 0.5},
        "mix of center 0.25 and irregular 0.1 to 0.5",
    ),
]


@pytest.mark.parametrize(("holes", "fields", "words"), ALL)
def test_fields_and_words(holes, fields, words):
    assert holes.settings.to_dict() == fields
    assert HoleSettings.from_dict(json.loads(json.dumps(fields))) == holes.settings
    assert str(holes.settings) == words


def test_a_folder():
    settings = HoleSettings("folder", folder="masks", files=3, sha256="ab", inverted=False)
    assert HoleSettings.from_dict(settings.to_dict()) == settings
    assert str(settings) == "folder masks, 3 files, sha256 ab"


def test_fields_that_do_not_matter_for_a_kind_do_not_tell_holes_apart():
    assert Holes(least=0.2).settings == Holes(least=0.3).settings


@pytest.mark.parametrize(("kind", "share"), [("center", 0.75), ("irregular", None), ("mix", None)])
def test_central_share(kind, share):
    assert Holes(kind, center=0.75).settings.central_share == share


@pytest.mark.parametrize(
    "fields", ["center 0.5", {}, {"kind": "round"}, {"kind": "center"}, {"kind": "center", "centre": 0.5}]
)
def test_nonsense_is_refused(fields):
    with pytest.raises(ValueError, match="holes: "):
        HoleSettings.from_dict(fields)
