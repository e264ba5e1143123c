"""The speech options that every `gancli prepare` command takes."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.options import given, options
from gancli.errors import UsageError

if TYPE_CHECKING:
    from gancli.data.preparation.options import SpeechOptions
    from gancli.data.source import Source

NATIVE = "native"


class Speech(StrEnum):
    """Who speaks the captions."""

    NONE = "none"
    TTS = "tts"
    WAV = "wav"


class CentrePad(StrEnum):
    """Samples before and after a clip: zeros, or the clip mirrored."""

    CONSTANT = "constant"
    REFLECT = "reflect"


@options("Speech")
class SpeechArguments:
    """Speech options of a `gancli prepare` command."""

    speech: Annotated[
        Speech,
        typer.Option(help="tts: a synthesizer speaks every caption; wav: recordings of people."),
    ] = Speech.NONE
    voice: Annotated[
        list[str] | None,
        typer.Option(help="Voice of eSpeak NG, such as en-gb or en-us+f3; may repeat.", show_default="en-us"),
    ] = None
    speed: Annotated[
        list[int] | None,
        typer.Option(help="Words per minute; may repeat.", show_default="175"),
    ] = None
    tts_cmd: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Another synthesizer: 'prog {text_file} {wav_file}', also with {voice} and {speed}.",
            show_default="eSpeak NG",
        ),
    ] = None
    speech_root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with recordings of the captions.", show_default=False),
    ] = None
    keep_audio: Annotated[bool, typer.Option("--keep-audio", help="Store the waveforms too.")] = False
    sample_rate: Annotated[
        str,
        typer.Option(metavar="HZ", help="Sample rate of the features; native: that of each file."),
    ] = "22050"
    cmvn: Annotated[
        bool,
        typer.Option(
            "--cmvn/--no-cmvn", help="Normalize each band of an utterance to mean 0 and deviation 1."
        ),
    ] = True
    centre_pad: Annotated[
        CentrePad,
        typer.Option(help="Pad a clip with zeros, or mirror it as older librosa did."),
    ] = CentrePad.CONSTANT

    @cached_property
    def options(self) -> SpeechOptions | None:
        """Options for `prepare`, after a test of every voice; None where captions are not spoken.

        Raises:
            UsageError: An option does not go with the others, or a voice is unknown.
            RunError: There is no synthesizer.
        """
        if self.speech is not Speech.TTS:
            for name in given(self, "voice", "speed", "tts_cmd"):
                raise UsageError(f"{name} needs --speech tts")
        if self.speech is not Speech.WAV and self.speech_root:
            raise UsageError("--speech-root needs --speech wav")
        if self.speech is Speech.NONE:
            if self.keep_audio:
                raise UsageError("--keep-audio needs --speech tts or --speech wav")
            return None

        from gancli.data.audio import MelSettings
        from gancli.data.preparation.options import SpeechOptions
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
        """Return the source with its recordings, where these are asked for.

        Args:
            source: Source of a dataset.
            usual: Folders to look for where none is named; none for a source that has recordings of its own.
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
