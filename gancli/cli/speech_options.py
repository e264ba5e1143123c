"""The options about speech that every `gancli prepare` command takes, and what they come to."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gancli.errors import UsageError

if TYPE_CHECKING:
    from gancli.data.preparation.workers import SpeechOptions
    from gancli.data.source import Source

PANEL = "Speech"
NATIVE = "native"


class Speech(StrEnum):
    """Who speaks the captions."""

    NONE = "none"
    TTS = "tts"
    WAV = "wav"


class CentrePad(StrEnum):
    """What lies before and after a clip."""

    CONSTANT = "constant"
    REFLECT = "reflect"


@dataclass
class SpeechArguments:
    """What the user asked for; the fields are the options of `OPTIONS`."""

    speech: Speech
    voice: list[str] | None
    speed: list[int] | None
    tts_cmd: str | None
    speech_root: Path | None
    keep_audio: bool
    sample_rate: str
    cmvn: bool
    centre_pad: CentrePad

    @cached_property
    def options(self) -> SpeechOptions | None:
        """For `prepare`; every voice has spoken once. None where captions are not spoken.

        Raises:
            UsageError: An option does not go with the others, or a voice is unknown.
            RunError: There is no synthesizer.
        """
        if self.speech is not Speech.TTS:
            for name, value in (
                ("--voice", self.voice),
                ("--speed", self.speed),
                ("--tts-cmd", self.tts_cmd),
            ):
                if value:
                    raise UsageError(f"{name} needs --speech tts")
        if self.speech is not Speech.WAV and self.speech_root:
            raise UsageError("--speech-root needs --speech wav")
        if self.speech is Speech.NONE:
            if self.keep_audio:
                raise UsageError("--keep-audio needs --speech tts or --speech wav")
            return None

        from gancli.data.audio import MelSettings
        from gancli.data.preparation.workers import SpeechOptions
        from gancli.data.text_to_speech import choose_voices, find_synthesizer

        mel = MelSettings(sample_rate=self._rate(), cmvn=self.cmvn, centre_pad=self.centre_pad.value)
        if self.speech is Speech.WAV:
            return SpeechOptions(mel=mel, keep_audio=self.keep_audio)
        synthesizer = find_synthesizer(self.tts_cmd)
        voices = choose_voices(synthesizer, self.voice or (), self.speed or ())
        return SpeechOptions(synthesizer, voices, mel, self.keep_audio)

    def _rate(self) -> int | None:
        if self.sample_rate == NATIVE:
            return None
        if self.sample_rate.isdecimal() and 4000 <= int(self.sample_rate) <= 192000:
            return int(self.sample_rate)
        raise UsageError(f"--sample-rate {self.sample_rate}: a number of Hz from 4000 to 192000, or {NATIVE}")

    def recorded(self, source: Source, *usual: Path) -> Source:
        """The source with its recordings, where these are asked for.

        Args:
            usual: Folders that are looked for where none is named; none for a source that brings its own.
        """
        if self.options is None or self.speech is not Speech.WAV or not (self.speech_root or usual):
            return source
        from gancli.data.sources.recordings import LAYOUTS, with_recordings

        folder = self.speech_root or next((folder for folder in usual if folder.is_dir()), None)
        if folder is None:
            looked = " nor ".join(map(str, usual))
            raise UsageError(
                f"--speech wav: name the folder of recordings with --speech-root, there is no {looked}",
                hint=LAYOUTS,
            )
        return with_recordings(source, folder)


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=PANEL, **settings)


OPTIONS: dict[str, tuple[Any, Any]] = {
    "speech": (
        Annotated[
            Speech,
            _option("--speech", help="tts: a synthesizer speaks every caption; wav: people did."),
        ],
        Speech.NONE,
    ),
    "voice": (
        Annotated[
            list[str] | None,
            _option(
                "--voice", help="Of eSpeak NG, as en-gb or en-us+f3; repeat for more.", show_default="en-us"
            ),
        ],
        None,
    ),
    "speed": (
        Annotated[
            list[int] | None,
            _option("--speed", help="Words per minute; repeat for more.", show_default="175"),
        ],
        None,
    ),
    "tts_cmd": (
        Annotated[
            str | None,
            _option(
                "--tts-cmd",
                metavar="COMMAND",
                help="Another synthesizer: 'prog {text_file} {wav_file}', also with {voice} and {speed}.",
                show_default="eSpeak NG",
            ),
        ],
        None,
    ),
    "speech_root": (
        Annotated[
            Path | None,
            _option("--speech-root", metavar="DIR", help="Recordings of the captions.", show_default=False),
        ],
        None,
    ),
    "keep_audio": (Annotated[bool, _option("--keep-audio", help="Keep the waveforms too.")], False),
    "sample_rate": (
        Annotated[
            str, _option("--sample-rate", metavar="HZ", help="Of the features; native: each file's own.")
        ],
        "22050",
    ),
    "cmvn": (
        Annotated[
            bool, _option("--cmvn/--no-cmvn", help="Mean 0 and deviation 1 of each band of an utterance.")
        ],
        True,
    ),
    "centre_pad": (
        Annotated[
            CentrePad,
            _option("--centre-pad", help="Around a clip: zeros, or the clip mirrored as old librosa did."),
        ],
        CentrePad.CONSTANT,
    ),
}


def takes_speech(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options about speech; its parameter `speech` receives them as `SpeechArguments`."""
    signature = inspect.signature(function, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "speech"]

    @functools.wraps(function)
    def run(*positional: Any, **arguments: Any) -> None:
        speech = SpeechArguments(**{name: arguments.pop(name) for name in OPTIONS})
        function(*positional, speech=speech, **arguments)

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in OPTIONS.items()
    ]
    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    return run
