"""Settings of the holes that are cut into images, as model and sample folders record them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

HoleKind = Literal["center", "irregular", "mix", "folder"]


@dataclass(frozen=True)
class HoleSettings:
    """Settings of holes, as a model's config.yaml, sampling.json and score rows hold them.

    A field that says nothing about holes of this kind is None, so equal settings compare equal. Kind, center, least,
    most and inverted are those of `gancli.data.holes.Holes`.

    Attributes:
        folder: Name of the folder of mask files, without its path.
        files: Number of mask files.
        sha256: Hash of the mask files' names and contents.

    Raises:
        ValueError: The kind is unknown, or it lacks a field that it needs.
    """

    kind: HoleKind
    center: float | None = None
    least: float | None = None
    most: float | None = None
    folder: str | None = None
    files: int | None = None
    sha256: str | None = None
    inverted: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(HoleKind):
            raise ValueError(f"holes: {self.kind!r} is not a kind of hole")
        needed = {"center": ("center",), "irregular": ("least", "most"), "mix": ("center", "least", "most")}
        for name in needed.get(self.kind, ("folder", "files", "sha256", "inverted")):
            if getattr(self, name) is None:
                raise ValueError(f"holes: {name} is missing for holes of kind {self.kind!r}")

    @classmethod
    def from_dict(cls, fields: object) -> HoleSettings:
        """Build settings from the mapping that `to_dict` returns.

        Raises:
            ValueError: It is no mapping, has a wrong or an unknown field, or lacks one.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, Mapping) or "kind" not in fields or not set(fields) <= known:
            raise ValueError(f"holes: {fields!r} are no settings of holes")
        return cls(**fields)

    def to_dict(self) -> dict[str, object]:
        """Return the fields that say something."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @property
    def central_share(self) -> float | None:
        """Side of the hole over the image's side where every hole is central, else None."""
        return self.center if self.kind == "center" else None

    def __str__(self) -> str:
        """Return the settings in words, for display only."""
        center, irregular = f"center {self.center}", f"irregular {self.least} to {self.most}"
        if self.kind == "folder":
            inverted = ", inverted" if self.inverted else ""
            return f"folder {self.folder}, {self.files} files, sha256 {self.sha256}{inverted}"
        return {"center": center, "irregular": irregular}.get(self.kind, f"mix of {center} and {irregular}")
