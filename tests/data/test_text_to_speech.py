"""Synthesizers: repeatable samples, arguments without a shell, messages about voices and programs."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gancli.data import text_to_speech
from gancli.data.audio import UnusableSpeech
from gancli.data.text_to_speech import EspeakLibrary, SpeechCommand, Voice, choose_voices, find_synthesizer
from gancli.errors import RunError, UsageError

ROOT = Path(__file__).parents[2]
CAPTIONS = ["a small red bird with blue wings", "this bird has a long yellow bill, and a white belly."]

# Writes samples that tell its input: their number tells the text's length, their level the speed
ENGINE = """
import sys, wave
text_file, wav_file, *voice = sys.argv[1:]
text = open(text_file, "rb").read()
if b"crash" in text:
    sys.exit("no such word\\nin my lexicon")
if b"nothing" not in text:
    with wave.open(wav_file, "wb") as wav:
        wav.setnchannels(1); wav.setsampwidth(2); wav.setframerate(16000)
        level = int(voice[1]) if voice else 100
        quiet = b"mute" in text
        wav.writeframes(b"".join((0 if quiet else level * (-1) ** i).to_bytes(2, "little", signed=True)
                                 for i in range(len(text) * 100)))
"""


@pytest.fixture
def engine(tmp_path: Path) -> str:
    """A command that writes a tone as long as the text."""
    script = tmp_path / "my engine.py"
    script.write_text(ENGINE)
    return f"{sys.executable} '{script}' {{text_file}} {{wav_file}}"


@pytest.fixture(scope="module")
def espeak() -> EspeakLibrary:
    pytest.importorskip("espeakng_loader", reason="the extra `speech` is not installed")
    return EspeakLibrary()


def test_a_clip_does_not_depend_on_those_before(espeak: EspeakLibrary) -> None:
    voices = Voice(), Voice("en-gb", 150), Voice("en-us+f3", 220)
    first = {(text, voice): espeak.speak(text, voice) for text in CAPTIONS for voice in voices}
    assert len({waveform.tobytes() for waveform, _ in first.values()}) == len(first)
    another: EspeakLibrary = pickle.loads(pickle.dumps(espeak))  # noqa: S301  starts a process of its own
    for (text, voice), (waveform, rate) in reversed(first.items()):
        assert (waveform.dtype, rate) == (np.float32, 22050)
        for speaker in (espeak, another):
            again, again_rate = speaker.speak(text, voice)
            assert np.array_equal(again, waveform)
            assert again_rate == rate


def test_the_time_of_the_start_makes_no_difference() -> None:
    """The library seeds its noise with the time, and a whisper is all noise."""
    pytest.importorskip("espeakng_loader")
    code = (
        "import sys; from gancli.data import espeak_server as server; library, *_ = server.load();"
        "library.espeak_ng_SetRandSeed(int(sys.argv[1]));"
        "sys.stdout.buffer.write(server.speak(library, 'a red bird', 'en-us+whisper', 175)[1])"
    )
    one, two = (
        subprocess.run([sys.executable, "-c", code, seed], capture_output=True, check=True, cwd=ROOT).stdout
        for seed in ("5", "6")
    )
    assert len(one) > 10000
    assert one == two


def test_speed_and_length(espeak: EspeakLibrary) -> None:
    slow, fast = (len(espeak.speak(CAPTIONS[1], Voice("en-us", speed))[0]) for speed in (120, 240))
    assert slow > 1.5 * fast
    assert 1 < len(espeak.speak(CAPTIONS[0], Voice())[0]) / 22050 < 4


@pytest.mark.parametrize(
    "text", ["-v foo", "[[hello]] <b>", "été", "two\nlines", "nul\0here", '"; ls $HOME `ls`']
)
def test_any_text_is_only_text(espeak: EspeakLibrary, text: str) -> None:
    assert len(espeak.speak(text, Voice())[0]) > 2000


@pytest.mark.parametrize("text", ["", "…", "___"])
def test_text_that_speaks_to_nothing(espeak: EspeakLibrary, text: str) -> None:
    assert not espeak.speak(text, Voice())[0].any()


def test_the_program_is_as_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("there is no espeak-ng program")
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(text_to_speech, "EspeakLibrary", absent_library)
    program = find_synthesizer()
    assert program.backend == "espeak-ng program"
    assert program.version[:2] == "1."
    assert np.array_equal(program.speak(CAPTIONS[0], Voice())[0], program.speak(CAPTIONS[0], Voice())[0])
    with pytest.raises(UsageError, match="does not exist"):
        choose_voices(program, ["nobody"], [])


# Imitates espeak-ng of either version; its samples tell whether -D was given
PROGRAM = """#!{python}
import sys, wave
if "--version" in sys.argv:
    print("eSpeak NG text-to-speech: {version}  Data at: /usr/share/espeak-ng-data")
elif "--help" in sys.argv:
    print("{help}")
else:
    given = dict(zip(sys.argv[1:], sys.argv[2:]))
    with wave.open(given["-w"], "wb") as wav:
        wav.setnchannels(1); wav.setsampwidth(2); wav.setframerate(22050)
        wav.writeframes((int(given["-s"]) + ("-D" in sys.argv)).to_bytes(2, "little") * len(given["-v"]))
"""


@pytest.mark.parametrize(
    ("version", "text", "level"),
    [("1.51", "-x Write phoneme mnemonics", 175), ("1.52.0", "-D Enable deterministic random mode", 176)],
)
def test_arguments_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, text: str, level: int
) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text(PROGRAM.format(python=sys.executable, version=version, help=text))
    program.chmod(0o755)
    monkeypatch.setattr(text_to_speech, "EspeakLibrary", absent_library)
    monkeypatch.setenv("PATH", str(tmp_path))
    synthesizer = find_synthesizer()
    assert (synthesizer.backend, synthesizer.version) == ("espeak-ng program", version)
    waveform, rate = synthesizer.speak("a bird", Voice("en-us"))
    assert rate == 22050
    assert (waveform * 32768).tolist() == [level] * 5


def absent_library() -> EspeakLibrary:
    raise RunError("eSpeak NG cannot be loaded: No module named 'espeakng_loader'")


def test_nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_to_speech, "EspeakLibrary", absent_library)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RunError, match="no speech synthesizer") as caught:
        find_synthesizer()
    assert 'pip install "gancli[speech]"' in str(caught.value.hint)
    assert "apt install espeak-ng" in str(caught.value.hint)


def test_a_library_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = tmp_path / "server.py"
    broken = "ctypes.CDLL('libnothing.so')"
    source = Path(text_to_speech.espeak_server.__file__).read_text()
    server.write_text(source.replace("import espeakng_loader\n", f"{broken}\n"))
    monkeypatch.setattr(text_to_speech.espeak_server, "__file__", str(server))
    with pytest.raises(RunError, match="cannot be loaded: libnothing"):
        EspeakLibrary()


def test_a_server_that_dies_is_reported_and_replaced(espeak: EspeakLibrary) -> None:
    speaker = EspeakLibrary()
    assert speaker._process is not None
    speaker._process.kill()
    speaker._process.wait()
    with pytest.raises(RunError, match="has died"):
        speaker.speak(CAPTIONS[0], Voice())
    assert np.array_equal(speaker.speak(CAPTIONS[0], Voice())[0], espeak.speak(CAPTIONS[0], Voice())[0])


def test_the_server_ends_with_its_owner() -> None:
    pytest.importorskip("espeakng_loader")
    speaker = EspeakLibrary()
    process = speaker._process
    assert process is not None
    del speaker
    assert process.returncode == 0


# ------------------------------------------------------------------------------------------------------ voices


def test_every_voice_at_every_speed(espeak: EspeakLibrary) -> None:
    assert choose_voices(espeak) == (Voice("en-us", 175),)
    assert choose_voices(espeak, "en-gb", 150) == (Voice("en-gb", 150),)
    chosen = choose_voices(espeak, ["en-us", "en+f2"], [150, 200])
    assert [str(voice) for voice in chosen] == [
        "en-us at 150",
        "en-us at 200",
        "en+f2 at 150",
        "en+f2 at 200",
    ]


@pytest.mark.parametrize(
    ("names", "speeds", "message"),
    [
        (["nobody"], [], "has no voice 'nobody'"),
        (["en-us+zz"], [], r"en-us and en-us\+zz sound the same"),
        (["en", "en-gb"], [], "en and en-gb sound the same"),
        (["en-us", "en-us"], [], "en-us is given twice"),
        ([""], [], "the name is empty"),
        (["klatt"], [], "crashed"),
        ([], [10], "from 80 to 450"),
        ([], [200, 150, 200], "200 is given twice"),
    ],
)
def test_unusable_voices(espeak: EspeakLibrary, names: list[str], speeds: list[int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_voices(espeak, names, speeds)


# ----------------------------------------------------------------------------------------------------- commands


def spoken(command: SpeechCommand, text: str, voice: Voice | None = None) -> NDArray[np.float32]:
    waveform, rate = command.speak(text, voice or Voice())
    assert rate == 16000
    return waveform


def test_any_program_can_speak(engine: str) -> None:
    command = SpeechCommand(engine)
    assert command.backend == "command"
    assert command.version == f"{Path(sys.executable).name} 'my engine.py' '{{text_file}}' '{{wav_file}}'"
    assert len(spoken(command, "{voice} $(ls) 'é'")) == 100 * (len("{voice} $(ls) 'é'".encode()) + 1)
    copy: SpeechCommand = pickle.loads(pickle.dumps(command))  # noqa: S301
    assert np.array_equal(spoken(copy, CAPTIONS[0]), spoken(command, CAPTIONS[0]))


def test_fields_for_voice_and_speed(engine: str) -> None:
    command = SpeechCommand(f"{engine} {{voice}} {{speed}}")
    assert np.abs(spoken(command, "a", Voice("x y", 300))).max() * 32768 == 300
    assert len(choose_voices(command, ["one"], [100, 200])) == 2
    with pytest.raises(UsageError, match="one and two sound the same"):
        choose_voices(command, ["one", "two"], [])
    for names, speeds, field in ((["one"], [], "voice"), ([], [150], "speed")):
        with pytest.raises(UsageError, match=f"--{field}: the command has no field {{{field}}}"):
            choose_voices(SpeechCommand(engine), names, speeds)


@pytest.mark.parametrize(
    ("text", "message"),
    [("crash", "fails with exit code 1: in my lexicon"), ("nothing", "has written no audio file")],
)
def test_a_clip_that_fails(engine: str, text: str, message: str) -> None:
    with pytest.raises(UnusableSpeech, match=message):
        SpeechCommand(engine).speak(text, Voice())


def test_a_program_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_to_speech, "CLIP_SECONDS", 0.1)
    command = SpeechCommand(f"{sys.executable} -c 'import time; time.sleep(60)' {{text_file}} {{wav_file}}")
    with pytest.raises(UnusableSpeech, match="has not ended after"):
        command.speak("a", Voice())


def test_a_silent_program(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_to_speech, "_TEST_CAPTION", "mute")
    with pytest.raises(UsageError, match="command is silent"):
        choose_voices(SpeechCommand(engine), [], [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("prog {text_file}", r"needs \{text_file\} and \{wav_file\}"),
        ("", r"needs \{text_file\}"),
        ("prog {text_file} {wav}", r"unknown field \{wav\}"),
        ("prog '{text_file} {wav_file}", "cannot be split into arguments"),
        (
            "gancli-has-no-such-program {text_file} {wav_file}",
            "there is no program 'gancli-has-no-such-program'",
        ),
    ],
)
def test_unusable_command_lines(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_synthesizer(line)
