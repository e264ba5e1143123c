"""`plan.json`: the plan of an unfinished dataset folder, without the raw data.

Every part of a dataset (`prepare --shards`) leaves the same outline beside its shards. `finish` and `gancli data merge`
make the manifest from the outline and the shards alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from gancli.atomic import atomic_file
from gancli.data.manifest import Codec, Filled, Manifest, SpeechEntry, StrictModel
from gancli.data.preparation.plan import Plan, split_counts
from gancli.data.source import BadSample
from gancli.data.text import Vocabulary
from gancli.errors import DataError

OUTLINE = "plan.json"


class PlannedShard(StrictModel):
    """A planned shard. It may come to hold fewer than `images`; `plan` is the hash stored in it."""

    file: str
    split: str
    images: int
    plan: str


class Outline(StrictModel):
    """A plan without its records. Fields with the names of `Manifest` or `Plan` mean the same.

    Attributes:
        speech: The manifest's entry without the counts of utterances.
        bad: (key, reason) of each record that cannot be used.
        parts: Number of parts into which the last `prepare` here divided the shards; None where it made all of them.
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
        """Return the outline of a plan."""
        options = plan.options
        return cls(
            name=plan.source.name,
            release=plan.source.release,
            split_rule=plan.source.split_rule,
            crop_rule=plan.crop_rule,
            image_size=options.image_size,
            codec=options.codec,
            shard_images=plan.shard_images,
            class_names=tuple(plan.source.class_names),
            attribute_names=tuple(plan.source.attribute_names),
            attribute_encoding=plan.source.attribute_encoding or None,
            silhouettes=plan.silhouettes,
            speech=options.speech.entry({}) if options.speech else None,
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
    def bad_samples(self) -> list[BadSample]:
        """Records that cannot be used."""
        return [BadSample(*entry) for entry in self.bad]

    @property
    def counts(self) -> dict[str, int]:
        """Images per split."""
        return split_counts((shard.split, shard.images) for shard in self.shards)

    def differences(
        self, there: Outline | Manifest, *, raw_data: bool, wanted: str = "asked for"
    ) -> list[str]:
        """Return a line for everything in which a folder is not as this outline wants it.

        Args:
            there: Outline or manifest of the folder.
            raw_data: Compare images, captions and the like too, not only the settings.
            wanted: Name of this outline's side in the lines.
        """
        own, found = _facts_of(self), _facts_of(there)
        wrong = _different_settings(own.settings, found.settings)
        if wrong == ["shard_images"] and isinstance(there, Outline) and there.parts != self.parts:
            return [f"--shards: {_parts(there.parts)} there, {_parts(self.parts)} {wanted}"]
        lines = [
            f"{name}: {found.settings.get(name, 'none')} there, {own.settings[name]} {wanted}"
            for name in wrong
        ]
        return lines + _different_data(own, found, wanted, settings_differ=bool(lines)) if raw_data else lines


@dataclass(frozen=True)
class _Facts:
    """Everything that an outline and a manifest both say of a dataset."""

    settings: dict[str, object]
    words: int
    vocabulary_hash: str
    images: dict[str, int]
    rejected: int
    source: dict[str, str]
    plan: str


_SETTINGS = ("name", "release", "split_rule", "crop_rule", "image_size", "codec", "shard_images")


def _facts_of(dataset: Outline | Manifest) -> _Facts:
    if isinstance(dataset, Outline):
        vocabulary = Vocabulary(dataset.vocabulary)
        words, vocabulary_hash = len(vocabulary), vocabulary.hash
        silhouettes, images, rejected = dataset.silhouettes, dataset.counts, len(dataset.bad)
    else:
        words, vocabulary_hash = dataset.tokenizer.words, dataset.tokenizer.vocabulary_hash
        silhouettes = dataset.silhouettes.method if dataset.silhouettes else None
        images = {name: split.images for name, split in dataset.splits.items()}
        rejected = dataset.rejected
    settings = {
        **{name: getattr(dataset, name) for name in _SETTINGS},
        "attribute_encoding": dataset.attribute_encoding or "none",
        "silhouettes": silhouettes or "none",
        **_speech_settings(dataset.speech),
    }
    return _Facts(settings, words, vocabulary_hash, images, rejected, dataset.source, dataset.plan)


def _speech_settings(entry: SpeechEntry | None) -> dict[str, object]:
    """Return the settings of speech, one level deep."""
    if entry is None:
        return {"speech": "none"}
    return {
        "speech": f"{entry.backend} {entry.version}".strip(),
        "voices": list(entry.voices),
        "speeds": list(entry.speeds),
        "keep_audio": entry.audio,
        **entry.mel.model_dump(),
    }


def _different_settings(own: dict[str, object], found: dict[str, object]) -> list[str]:
    wrong = [name for name, value in own.items() if found.get(name, "none") != value]
    if "speech" in wrong and "none" in (found["speech"], own["speech"]):  # its details go without saying
        wrong = wrong[: wrong.index("speech") + 1]
    if len(wrong) > 1 and "shard_images" in wrong:
        wrong.remove("shard_images")  # follows from the others, unless it was asked for
    return wrong


def _different_data(own: _Facts, found: _Facts, wanted: str, *, settings_differ: bool) -> list[str]:
    lines = []
    if found.vocabulary_hash != own.vocabulary_hash:
        lines.append(
            f"vocabulary: {found.words} words with hash {found.vocabulary_hash[:12]} there, "
            f"{own.words} with {own.vocabulary_hash[:12]} {wanted}"
        )
    if found.rejected == own.rejected and found.images != own.images:  # else some could not be decoded
        lines.append(f"images: {found.images} there, {own.images} {wanted}")
    if not lines and not settings_differ and found.plan != own.plan:
        files = found.source.keys() | own.source.keys()
        changed = sorted(file for file in files if found.source.get(file) != own.source.get(file))
        named = f" ({', '.join(changed)})" if changed else ""
        kinds = "images, captions, recordings, boxes, classes or attributes"
        lines.append(f"source: its {kinds} have changed since{named}")
    return lines


def _parts(number: int | None) -> str:
    return "all at once" if number is None else f"…/{number}"


def _printable(text: str) -> str:
    """Return text that can be encoded: file names may hold bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


def write_outline(folder: Path, outline: Outline) -> None:
    """Write `plan.json`, unless it is there with the same content."""
    text = outline.model_dump_json(indent=1) + "\n"
    path = folder / OUTLINE
    if not (path.is_file() and path.read_bytes() == text.encode()):
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_outline(folder: Path) -> Outline | None:
    """Read the outline of a folder; None where there is none. Raise DataError if the file is damaged."""
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
