"""`plan.json`: what an unfinished dataset folder is going to be, without the raw data.

Every part of a dataset (`prepare --shards`) leaves the same outline beside its shards, and from it and the shards
alone `finish` and `gancli data merge` make the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gancli.atomic import atomic_file
from gancli.data.manifest import Codec, Filled, Manifest, SpeechEntry, StrictModel
from gancli.data.preparation.plan import Plan
from gancli.data.text import Vocabulary
from gancli.errors import DataError

OUTLINE = "plan.json"


class PlannedShard(StrictModel):
    """A shard that is to be there; `images` may turn out to be fewer, `plan` is the hash stored in it."""

    file: str
    split: str
    images: int
    plan: str


class Outline(StrictModel):
    """A plan without its records. Names are the manifest's, see `Manifest`.

    Attributes:
        silhouettes: Where they come from; None where there are none.
        speech: Without counts of utterances.
        vocabulary: Its words.
        bad: (name, reason) of each record that the source could not use.
        parts: Into how many parts the last `prepare` here divided the shards; None where it made all of them.
    """

    name: str
    release: Filled
    split_rule: Filled
    crop_rule: Filled
    image_size: int
    codec: Codec
    shard_images: int
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    attribute_encoding: str | None
    silhouettes: str | None
    speech: SpeechEntry | None
    source: dict[str, str]
    vocabulary: tuple[str, ...]
    plan: str
    shards: tuple[PlannedShard, ...]
    bad: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    parts: int | None

    @classmethod
    def of(cls, plan: Plan, parts: int | None = None) -> Outline:
        """The outline of a plan."""
        return cls(
            name=plan.source.name,
            release=plan.source.release,
            split_rule=plan.source.split_rule,
            crop_rule=plan.crop_rule,
            image_size=plan.image_size,
            codec=plan.codec,
            shard_images=plan.shard_images,
            class_names=tuple(plan.source.class_names),
            attribute_names=tuple(plan.source.attribute_names),
            attribute_encoding=plan.source.attribute_encoding or None,
            silhouettes=plan.silhouettes,
            speech=plan.speech.entry({}) if plan.speech else None,
            source=dict(sorted(plan.source.fingerprint.items())),
            vocabulary=plan.vocabulary.words,
            plan=plan.hash,
            shards=tuple(
                PlannedShard(file=shard.file, split=shard.split, images=len(shard.records), plan=shard.plan)
                for shard in plan.shards
            ),
            bad=tuple((_printable(sample.key), _printable(sample.reason)) for sample in plan.bad),
            warnings=plan.warnings,
            parts=parts,
        )

    @property
    def counts(self) -> dict[str, int]:
        """Images per split."""
        counts: dict[str, int] = {}
        for shard in self.shards:
            counts[shard.split] = counts.get(shard.split, 0) + shard.images
        return counts

    @property
    def settings(self) -> dict[str, Any]:
        """What a second run has to ask for again."""
        return {
            "name": self.name,
            "release": self.release,
            "split_rule": self.split_rule,
            "crop_rule": self.crop_rule,
            "image_size": self.image_size,
            "codec": self.codec,
            "shard_images": self.shard_images,
            "attribute_encoding": self.attribute_encoding or "none",
            "silhouettes": self.silhouettes or "none",
            **_speech_settings(self.speech),
        }

    def differences(
        self, there: Outline | Manifest, *, raw_data: bool, wanted: str = "asked for"
    ) -> list[str]:
        """A line for everything in which a folder is not as this outline wants it.

        Args:
            there: What the folder holds.
            raw_data: Whether images, captions and the like have to be the same too, not only the settings.
            wanted: What to call this outline's side.
        """
        if isinstance(there, Outline):
            found = there.settings
            words, counts, parts = Vocabulary(there.vocabulary), there.counts, there.parts
            word_hash, word_count, rejected = words.hash, len(words), len(there.bad)
        else:
            found = {
                **there.model_dump(),
                "attribute_encoding": there.attribute_encoding or "none",
                "silhouettes": there.silhouettes.method if there.silhouettes else "none",
                **_speech_settings(there.speech),
            }
            word_hash, word_count = there.tokenizer.vocabulary_hash, there.tokenizer.words
            counts = {name: split.images for name, split in there.splits.items()}
            parts, rejected = self.parts, there.rejected
        own = self.settings
        wrong = [name for name, value in own.items() if found.get(name, "none") != value]
        if "speech" in wrong and "none" in (found["speech"], own["speech"]):
            wrong = [name for name in wrong if name not in _speech_settings(self.speech) or name == "speech"]
        if len(wrong) > 1 and "shard_images" in wrong:
            wrong.remove("shard_images")  # follows from the others, unless it was asked for
        if wrong == ["shard_images"] and parts != self.parts:
            return [f"--shards: {_parts(parts)} there, {_parts(self.parts)} {wanted}"]
        lines = [f"{name}: {found.get(name, 'none')} there, {own[name]} {wanted}" for name in wrong]
        if not raw_data:
            return lines
        mine = Vocabulary(self.vocabulary)
        if word_hash != mine.hash:
            lines.append(
                f"vocabulary: {word_count} words with hash {word_hash[:12]} there, "
                f"{len(mine)} with {mine.hash[:12]} {wanted}"
            )
        if rejected == len(self.bad) and counts != self.counts:  # else some of them could not be decoded
            lines.append(f"images: {counts} there, {self.counts} {wanted}")
        if not lines and there.plan != self.plan:
            files = there.source.keys() | self.source.keys()
            changed = sorted(file for file in files if there.source.get(file) != self.source.get(file))
            named = f" ({', '.join(changed)})" if changed else ""
            lines.append(
                "source: its images, captions, recordings, boxes, classes or attributes have changed since"
                + named
            )
        return lines


def _parts(number: int | None) -> str:
    return "all at once" if number is None else f"…/{number}"


def _speech_settings(entry: SpeechEntry | None) -> Mapping[str, Any]:
    """What a second run has to ask for again about speech, one level deep."""
    if entry is None:
        return {"speech": "none"}
    return {
        "speech": f"{entry.backend} {entry.version}".strip(),
        "voices": list(entry.voices),
        "speeds": list(entry.speeds),
        "keep_audio": entry.audio,
        **entry.mel.model_dump(),
    }


def _printable(text: str) -> str:
    """Names of files may hold bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


def write_outline(folder: Path, outline: Outline) -> None:
    """Write `plan.json`; where it stands with the same content, nothing is touched."""
    text = outline.model_dump_json(indent=1) + "\n"
    path = folder / OUTLINE
    if not (path.is_file() and path.read_bytes() == text.encode()):
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_outline(folder: Path) -> Outline | None:
    """The outline of a folder; None where there is none.

    Raises:
        DataError: It is damaged.
    """
    path = folder / OUTLINE
    try:
        return Outline.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(
            f"{path}: cannot be read ({first})",
            hint=f"copy it from another part of the dataset, or delete {folder} and prepare it again",
        ) from error
