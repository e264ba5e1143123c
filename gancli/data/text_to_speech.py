"""Text to speech with eSpeak NG (as a library or a program) or with any program named on the command line.

eSpeak NG is repeatable: the same caption, voice and speed give the same samples, whatever it spoke before. It is
licensed under GPL-3 and always runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gancli.data import espeak_server
from gancli.data.audio import SILENCE, UnusableSpeech, load_audio
from gancli.errors import RunError, UsageError

DEFAULT_VOICE, DEFAULT_SPEED = "en-us", 175
SLOWEST, FASTEST = 80, 450  # words per minute, the range of eSpeak NG
VOICES = "voices of eSpeak NG: en-us, en-gb-scotland, de, …, with variants f1 to f5 and m1 to m8 (en-us+f3)"
CLIP_SECONDS = 120  # a program that takes longer for one caption is taken to hang
INSTALL = 'install one: `pip install "gancli[speech]"`, or on Debian and Ubuntu `apt install espeak-ng`'

_PROGRAM = "espeak-ng"
_PROGRAM_LINE = f"{_PROGRAM} -b 1 -v {{voice}} -s {{speed}} -f {{text_file}} -w {{wav_file}}"
_FIELDS = ("text_file", "wav_file", "voice", "speed")
_FIELD = re.compile(r"\{(\w+)\}")
_TEST_CAPTION = "a small red bird"


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice by the synthesizer's name ("en-us", "en-us+f3"), and its speed in words per minute."""

    name: str = DEFAULT_VOICE
    speed: int = DEFAULT_SPEED

    def __str__(self) -> str:
        return f"{self.name} at {self.speed}"


class Synthesizer(Protocol):
    """A speech synthesizer. It can be pickled to a worker process, where it starts when it first speaks.

    Attributes:
        backend: "espeak-ng library", "espeak-ng program" or "command".
        version: Version of eSpeak NG, or the line of a command.
        fields: Supported fields among "voice" and "speed".
    """

    backend: str
    version: str
    fields: frozenset[str]

    def speak(self, text: str, voice: Voice) -> tuple[NDArray[np.float32], int]:
        """Return the spoken text, (L,) float32 mono in [-1, 1], and its rate in Hz.

        Raises:
            UnusableSpeech: The text cannot be spoken.
            RunError: The synthesizer itself has failed.
        """
        ...


class EspeakLibrary:
    """The eSpeak NG library of the PyPI package espeakng-loader, in a process of its own.

    Raises:
        RunError: The library is not installed or cannot be started.
    """

    backend = "espeak-ng library"
    fields = frozenset(("voice", "speed"))

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = self._start()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_process": None}

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: modules in the script's folder would hide those of the standard library
        command = [sys.executable, "-P", espeak_server.__file__]
        process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        weakref.finalize(self, _end, process)
        status, content = _receive(process)
        if status != espeak_server.OK:
            raise RunError(f"eSpeak NG cannot be loaded: {content.decode()}", hint=INSTALL)
        about = json.loads(content)
        self.version: str = about["version"]
        self._rate: int = about["rate"]
        return process

    def speak(self, text: str, voice: Voice) -> tuple[NDArray[np.float32], int]:
        """Speak a text, see `Synthesizer.speak`."""
        process = self._process or self._start()
        self._process = None  # an answer that comes after an interruption must not go to the next request
        request = {"text": text.replace("\0", " "), "voice": voice.name, "speed": voice.speed}
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            raise _died() from None
        status, content = _receive(process)
        self._process = process
        if status != espeak_server.OK:
            raise UnusableSpeech(content.decode())
        return np.divide(np.frombuffer(content, np.int16), 32768, dtype=np.float32), self._rate


def _receive(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """Read an answer of the server: status and content."""
    assert process.stdout is not None
    head = process.stdout.read(espeak_server.ANSWER.size)
    if len(head) < espeak_server.ANSWER.size:
        raise _died()
    status, size = espeak_server.ANSWER.unpack(head)
    content = process.stdout.read(size)
    if len(content) < size:
        raise _died()
    return status, content


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):
        process.stdin.close()  # ends the server
    process.stdout.close()
    process.wait()


def _died() -> RunError:
    return RunError(
        "the process that speaks with eSpeak NG has died",
        hint="run the same command again: it continues; fewer --jobs need less memory",
    )


class SpeechCommand:
    """A program that reads a text file and writes an audio file, started without a shell for every clip.

    Args:
        line: Command line with `{text_file}` (UTF-8) and `{wav_file}`, and with `{voice}` and `{speed}` if the program
            takes them. It is split into arguments like a shell does; the values of the fields are never split.
        backend: Name of the synthesizer in the manifest.
        version: Version in the manifest; by default the line, with absolute paths cut to their last name.

    Raises:
        UsageError: The line lacks a field or has an unknown one, or the program does not exist.
    """

    def __init__(self, line: str, *, backend: str = "command", version: str | None = None) -> None:
        try:
            self._arguments = tuple(shlex.split(line))
        except ValueError as error:
            raise UsageError(f"--tts-cmd {line!r}: cannot be split into arguments ({error})") from None
        named = {field for argument in self._arguments for field in _FIELD.findall(argument)}
        if unknown := sorted(named - set(_FIELDS)):
            known = ", ".join(f"{{{field}}}" for field in _FIELDS)
            raise UsageError(f"--tts-cmd {line!r}: unknown field {{{unknown[0]}}}", hint=f"known are {known}")
        if not {"text_file", "wav_file"} <= named:
            raise UsageError(
                f"--tts-cmd {line!r}: needs {{text_file}} and {{wav_file}}",
                hint='for example: --tts-cmd "my-tts --in {text_file} --out {wav_file}"',
            )
        if shutil.which(self._arguments[0]) is None:
            raise UsageError(f"--tts-cmd: there is no program {self._arguments[0]!r}")
        self.backend = backend
        bare = [os.path.basename(part) if os.path.isabs(part) else part for part in self._arguments]
        self.version = shlex.join(bare) if version is None else version
        self.fields = frozenset(named & {"voice", "speed"})

    def speak(self, text: str, voice: Voice) -> tuple[NDArray[np.float32], int]:
        """Speak a text, see `Synthesizer.speak`."""
        program = os.path.basename(self._arguments[0])
        with tempfile.TemporaryDirectory(prefix="gancli-speech-") as folder:
            text_file, wav_file = Path(folder, "caption.txt"), Path(folder, "speech.wav")
            text_file.write_text(text + "\n", encoding="utf-8")
            values = {"text_file": str(text_file), "wav_file": str(wav_file)}
            values |= {"voice": voice.name, "speed": str(voice.speed)}
            arguments = [_FIELD.sub(lambda field: values[field[1]], part) for part in self._arguments]
            try:
                ended = subprocess.run(
                    arguments, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, timeout=CLIP_SECONDS
                )
            except subprocess.TimeoutExpired:
                raise UnusableSpeech(f"{program} has not ended after {CLIP_SECONDS} s") from None
            except OSError as error:
                raise RunError(f"{arguments[0]} cannot be run ({error.strerror or error})") from None
            if ended.returncode:
                said = ended.stderr.decode("utf-8", "replace").replace(folder, "").strip().split("\n")[-1]
                raise UnusableSpeech(f"{program} fails with exit code {ended.returncode}: {said[:200]}")
            if not wav_file.exists():
                raise UnusableSpeech(f"{program} has written no audio file")
            return load_audio(wav_file, f"the output of {program}")


def find_synthesizer(line: str | None = None) -> Synthesizer:
    """Return the synthesizer of a command line for `SpeechCommand`.

    By default, take the eSpeak NG library of the extra `speech`, or else the program espeak-ng on the PATH.

    Raises:
        UsageError: `line` is malformed.
        RunError: eSpeak NG is not installed.
    """
    if line is not None:
        return SpeechCommand(line)
    try:
        return EspeakLibrary()
    except RunError as error:
        if shutil.which(_PROGRAM) is None:
            raise RunError(f"there is no speech synthesizer: {error}", hint=INSTALL) from None
    number = re.search(r"\d+(\.\d+)+\S*", _output(_PROGRAM, "--version"))
    # Since 1.52 the noise of breathy voices is seeded with the time, unless -D is given
    line = f"{_PROGRAM_LINE} -D" if "deterministic" in _output(_PROGRAM, "--help") else _PROGRAM_LINE
    return SpeechCommand(line, backend="espeak-ng program", version=number[0] if number else "unknown")


def _output(*arguments: str) -> str:
    return subprocess.run(arguments, capture_output=True, text=True, check=False).stdout


def choose_voices(
    synthesizer: Synthesizer, names: str | Sequence[str] = (), speeds: int | Sequence[int] = ()
) -> tuple[Voice, ...]:
    """Return every voice at every speed (words per minute), after each has spoken a test caption.

    No names or speeds stand for the default voice or speed.

    Raises:
        UsageError: A voice or speed is repeated, unknown or out of range, two voices sound the same, or the command
            has no field for it.
    """
    names = (names,) if isinstance(names, str) else names
    speeds = (speeds,) if isinstance(speeds, int) else speeds
    _check_choices(synthesizer, "voice", names)
    _check_choices(synthesizer, "speed", speeds)
    if not all(name.strip() for name in names):
        raise UsageError("--voice: the name is empty", hint=VOICES)
    for speed in speeds:
        if not SLOWEST <= speed <= FASTEST:
            raise UsageError(f"--speed {speed}: must be from {SLOWEST} to {FASTEST} words per minute")
    chosen = product(names or (DEFAULT_VOICE,), speeds or (DEFAULT_SPEED,))
    voices = tuple(Voice(name, speed) for name, speed in chosen)
    _refuse_alike(synthesizer, voices)
    return voices


def _check_choices(synthesizer: Synthesizer, field: str, values: Sequence[object]) -> None:
    """Refuse values of a field that the synthesizer lacks, and repeated values."""
    if values and field not in synthesizer.fields:
        raise UsageError(f"--{field}: the command has no field {{{field}}}", hint="add it to --tts-cmd")
    if len(set(values)) < len(values):
        raise UsageError(f"--{field}: {max(values, key=values.count)} is given twice")


def _refuse_alike(synthesizer: Synthesizer, voices: Sequence[Voice]) -> None:
    """Let every voice speak, and refuse two that sound the same."""
    heard: dict[tuple[int, bytes], str] = {}
    for voice in voices:
        # eSpeak NG ignores unknown variants, so a variant is also compared with its base voice
        base, plus, _ = voice.name.partition("+")
        for name in (base, voice.name) if plus and synthesizer.backend != "command" else (voice.name,):
            clip = voice.speed, _try(synthesizer, Voice(name, voice.speed)).tobytes()
            if heard.setdefault(clip, name) != name:
                hint = f"leave one out; {VOICES}"
                raise UsageError(f"--voice: {heard[clip]} and {name} sound the same", hint=hint)


def _try(synthesizer: Synthesizer, voice: Voice) -> NDArray[np.float32]:
    """Return a test clip, (L,)."""
    try:
        waveform, _ = synthesizer.speak(_TEST_CAPTION, voice)
    except UnusableSpeech as error:
        raise UsageError(f"voice {voice}: {error}", hint=VOICES) from None
    if not len(waveform) or float(np.abs(waveform).max()) < SILENCE:
        raise UsageError(f"voice {voice}: {synthesizer.backend} is silent", hint=VOICES)
    return waveform
