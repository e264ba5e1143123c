"""Settings of `prepare`: those that decide the bytes of a dataset, and the part of the shards to make."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gancli.data.audio import MelSettings
from gancli.data.images import CROP_RULES, Crop
from gancli.data.manifest import Codec, SpeechEntry
from gancli.data.text import Vocabulary
from gancli.data.text_to_speech import Synthesizer, Voice
from gancli.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """Settings of the spoken captions.

    Attributes:
        synthesizer: Synthesizer that speaks every caption; None where the source brings recordings.
        voices: Voices, each of which speaks every caption (`text_to_speech.choose_voices`); empty for recordings.
        mel: Settings of the features.
        keep_audio: Keep the waveforms too, in 16 bits at their own rate.
    """

    synthesizer: Synthesizer | None = None
    voices: tuple[Voice, ...] = ()
    mel: MelSettings = MelSettings()  # noqa: RUF009  (frozen)
    keep_audio: bool = False

    def entry(self, utterances: dict[str, int]) -> SpeechEntry:
        """Return the manifest's entry; `utterances` are the spoken captions per split."""
        fields = self.synthesizer.fields if self.synthesizer else frozenset()
        return SpeechEntry(
            mel=self.mel,
            backend=self.synthesizer.backend if self.synthesizer else "recorded",
            version=self.synthesizer.version if self.synthesizer else "",
            voices=tuple(dict.fromkeys(voice.name for voice in self.voices)) if "voice" in fields else (),
            speeds=tuple(dict.fromkeys(voice.speed for voice in self.voices)) if "speed" in fields else (),
            audio=self.keep_audio,
            utterances=utterances,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOptions:
    """Settings that decide the bytes of a dataset folder, together with its source.

    Attributes:
        image_size: Side of the largest crop in training, in pixels, at least 4; stored images are larger
            (`stored_side`).
        codec: "raw" pixels, or "jpeg" (quality 95, no chroma subsampling): a sixth of the space, slower to read.
        crop: Crop around a bounding box, see `images.crop_window`.
        shard_images: Most images in a shard; None for the length that the folder was begun with, or about 256 MiB of
            raw pixels and speech in a new folder.
        vocabulary: Vocabulary to encode captions with, such as that of an encoder; None for all words of all captions,
            in the order of the source.
        speech: Settings of spoken captions; None for no speech.
        silhouette_list: Keys of the images whose silhouettes are good; None to let the quality filter decide.

    Raises:
        UsageError: A setting is out of range or of the wrong kind.
    """

    image_size: int = 256
    codec: Codec = "raw"
    crop: Crop = "stackgan"
    shard_images: int | None = None
    vocabulary: Vocabulary | None = None
    speech: SpeechOptions | None = None
    silhouette_list: Collection[str] | None = None

    def __post_init__(self) -> None:
        if self.image_size < 4:
            raise UsageError(f"image size {self.image_size}: at least 4 pixels")
        if self.codec not in ("raw", "jpeg"):
            raise UsageError(f"codec {self.codec!r}: has to be raw or jpeg")
        if self.crop not in CROP_RULES:
            raise UsageError(f"crop {self.crop!r}: has to be {' or '.join(CROP_RULES)}")
        if self.shard_images is not None and self.shard_images < 1:
            raise UsageError(f"{self.shard_images} images in a shard: at least 1")
        if not isinstance(self.vocabulary, Vocabulary | None):
            raise UsageError(
                f"vocabulary {self.vocabulary!r}: has to be a Vocabulary",
                hint="gancli.data.text.Vocabulary.load reads the vocabulary.json of an encoder or a dataset",
            )
        if isinstance(self.silhouette_list, str) or not isinstance(self.silhouette_list, Collection | None):
            raise UsageError(
                f"silhouette list {self.silhouette_list!r}: has to be a collection of keys",
                hint="gancli.data.preparation.plan.read_silhouette_list reads a file",
            )


@dataclass(frozen=True, slots=True)
class Part:
    """Parts `first` to `last` of the `of` equal parts into which the list of a dataset's shards is divided, from 1.

    Raises:
        UsageError: There are no such parts.
    """

    first: int
    last: int
    of: int

    def __post_init__(self) -> None:
        if self.first < 1:
            raise UsageError(f"--shards {self}: parts are counted from 1")
        if self.last > self.of:
            raise UsageError(f"--shards {self}: there is no part {self.last} of {self.of}")
        if self.first > self.last:
            raise UsageError(f"--shards {self}: the first part comes after the last")

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `3/16` or `3-5/16`. Raise UsageError for any other text, or if there are no such parts."""
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?/([0-9]{1,9})", text.strip())
        if match is None:
            raise UsageError(f"--shards {text}: cannot be read, write 3/16 for a part or 3-5/16 for several")
        return cls(int(match[1]), int(match[2] or match[1]), int(match[3]))

    def __str__(self) -> str:
        numbers = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{numbers}/{self.of}"

    def choose(self, shards: Sequence[T]) -> Sequence[T]:
        """Return the shards of these parts; every shard is in exactly one part."""
        return shards[len(shards) * (self.first - 1) // self.of : len(shards) * self.last // self.of]
