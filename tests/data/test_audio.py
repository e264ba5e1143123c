"""Log-mel features against librosa's, and audio files of every kind, good and bad."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from gancli.data.audio import (
    FEWEST_FRAMES,
    MelSettings,
    UnusableSpeech,
    log_mel,
    read_audio,
    read_mel,
    resample,
)
from gancli.errors import DataError

GOLDEN = Path(__file__).parent / "golden" / "log_mel.npz"
"""Output of librosa 0.11.0 for `clip(rate)`. For rate, n_fft, hop in (22050, 551, 220) and (16000, 400, 160) and pad in
constant and reflect, `{rate}_{pad}` is log(mel + 1e-6).T with

    mel = librosa.feature.melspectrogram(
        y=clip(rate), sr=rate, n_fft=n_fft, hop_length=hop, win_length=n_fft, window="hann", center=True,
        pad_mode=pad, power=2.0, n_mels=40)

and `resampled_44100` is librosa.resample(clip(44100), orig_sr=44100, target_sr=22050)[:6000].
"""


def clip(rate: int) -> NDArray[np.float32]:
    """Return 1.1 s of a gliding tone with harmonics, noise and a pause, always the same for a rate."""
    t = np.arange(int(1.1 * rate)) / rate
    phase = 2 * np.pi * (120 * t + 90 * t**2)
    voiced = sum(np.sin(k * phase) / k for k in range(1, 24))
    noise = np.random.default_rng(0).standard_normal(len(t))
    envelope = np.clip(np.sin(2 * np.pi * 1.7 * t), 0, 1)
    waveform: NDArray[np.float32] = (
        (0.25 * envelope * voiced + 0.01 * noise * (t > 0.3)).clip(-1, 1).astype(np.float32)
    )
    return waveform


def normalised(mel: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = mel.astype(np.float64)
    return (wide - wide.mean(axis=0)) / np.maximum(wide.std(axis=0), 1e-5)


@pytest.mark.parametrize("pad", ["constant", "reflect"])
@pytest.mark.parametrize("rate", [22050, 16000])
def test_equals_librosa(rate: int, pad: str) -> None:
    expected = np.load(GOLDEN)[f"{rate}_{pad}"]
    plain = MelSettings(sample_rate=rate, centre_pad=pad, cmvn=False)  # type: ignore[arg-type]
    mel = log_mel(clip(rate), rate, plain)
    assert mel.dtype == np.float32
    assert mel.shape == expected.shape == (1 + len(clip(rate)) // (rate // 100), 40)
    assert np.abs(mel - expected).max() < 1e-5
    native = plain.model_copy(update={"sample_rate": None})
    assert np.array_equal(log_mel(clip(rate), rate, native), mel)
    whitened = log_mel(clip(rate), rate, plain.model_copy(update={"cmvn": True}))
    assert np.abs(whitened - normalised(expected)).max() < 1e-5


def test_resampling_equals_librosa() -> None:
    resampled = resample(clip(44100), 44100, 22050)
    assert len(resampled) == len(clip(44100)) // 2
    assert np.allclose(resampled[:6000], np.load(GOLDEN)["resampled_44100"], atol=1e-6)
    assert resample(resampled, 22050, 22050) is resampled


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_the_rate_of_the_file_hardly_matters(rate: int) -> None:
    """A tone has the same bands below half the lowest rate, whatever rate it was recorded at."""
    tone = [
        (0.3 * np.sin(2 * np.pi * 440 * np.arange(each) / each)).astype(np.float32) for each in (rate, 22050)
    ]
    plain = MelSettings(cmvn=False)
    heard, expected = (log_mel(wave, each, plain)[5:-5, :10] for wave, each in zip(tone, (rate, 22050)))  # noqa: B905
    assert np.abs(heard - expected).mean() < 0.05


def test_threads_make_no_difference() -> None:
    before = torch.get_num_threads()
    one = log_mel(clip(22050), 22050, MelSettings())
    try:
        torch.set_num_threads(2)
        assert np.array_equal(log_mel(clip(22050), 22050, MelSettings()), one)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@settings(max_examples=40)
@given(
    samples=st.integers(1, 6000),
    rate=st.sampled_from([4000, 8000, 11025, 22050, 96000]),
    pad=st.sampled_from(["constant", "reflect"]),
    native=st.booleans(),
    cmvn=st.booleans(),
)
@example(samples=1, rate=96000, pad="constant", native=False, cmvn=True)  # resampling leaves nothing
@example(samples=1, rate=96000, pad="reflect", native=False, cmvn=False)
def test_any_length_gives_enough_finite_frames(
    samples: int, rate: int, pad: str, native: bool, cmvn: bool
) -> None:
    noise = np.random.default_rng(samples).uniform(-0.5, 0.5, samples + 1).astype(np.float32)
    mel = log_mel(noise, rate, MelSettings(sample_rate=None if native else 22050, centre_pad=pad, cmvn=cmvn))  # type: ignore[arg-type]
    assert mel.shape[1] == 40
    assert len(mel) >= FEWEST_FRAMES
    assert np.isfinite(mel).all()
    assert np.abs(mel).max() < 60000  # float16 holds it


def test_short_clips_are_continued_with_silence() -> None:
    short = clip(22050)[4000:5000]
    assert not log_mel(short, 22050, MelSettings())[5:].any()
    mel = log_mel(short, 22050, MelSettings(cmvn=False))
    assert np.allclose(mel[5:], np.log(1e-6))
    assert len(mel) == FEWEST_FRAMES


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_silence_is_refused(level: float) -> None:
    noise = np.random.default_rng(0).integers(-1, 2, 9000) / 32768
    with pytest.raises(UnusableSpeech, match="silent"):
        log_mel((level + noise).astype(np.float32), 22050, MelSettings())
    with pytest.raises(UnusableSpeech, match="holds no sound"):
        log_mel(np.zeros(0, np.float32), 22050, MelSettings())


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 4000"):
        MelSettings(sample_rate=100)
    assert MelSettings() == MelSettings(bands=40)
    assert MelSettings() != MelSettings(cmvn=False)


# ------------------------------------------------------------------------------------------------- audio files


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_width_and_channel_count(tmp_path: Path, subtype: str, channels: int) -> None:
    expected = clip(16000)
    # Channels differ; their mean is the clip
    tilt = np.linspace(-0.1, 0.1, channels) if channels > 1 else np.zeros(1)
    soundfile.write(tmp_path / "a.wav", expected[:, None] + tilt, 16000, subtype=subtype)
    waveform, rate = read_audio(tmp_path / "a.wav")
    assert (rate, waveform.dtype, waveform.shape) == (16000, np.float32, expected.shape)
    assert np.abs(waveform - expected).max() < {"PCM_U8": 0.01, "ULAW": 0.05}.get(subtype, 1e-4)


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", clip(22050), 22050)
    mel = read_mel(tmp_path / f"a.{suffix}", MelSettings())
    assert mel.shape == (111, 40)
    assert np.array_equal(read_mel(str(tmp_path / f"a.{suffix}"), MelSettings()), mel)


def test_float_samples_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", clip(16000) * 9, 16000, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "a.wav")[0]).max() == 1


def test_five_minutes_are_fine(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.tile(clip(8000), 273), 8000)
    assert len(read_mel(tmp_path / "a.wav", MelSettings(sample_rate=8000))) > 30000


def test_a_header_written_before_the_end_was_known(tmp_path: Path) -> None:
    """Programs that write to a pipe leave a huge size or none in the header. The file is read as far as it goes."""
    soundfile.write(tmp_path / "a.wav", clip(16000), 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    for size in (0xFFFFFFFF, 0x7FFFF024, 0):
        content[4:8] = struct.pack("<I", size)
        content[40:44] = struct.pack("<I", max(0, size - 36))
        (tmp_path / "a.wav").write_bytes(content)
        if size:
            assert len(read_audio(tmp_path / "a.wav")[0]) == len(clip(16000))


def _absent(path: Path) -> None:
    pass


def _empty(path: Path) -> None:
    path.touch()


def _no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0), 16000)


def _cut(path: Path) -> None:
    soundfile.write(path, clip(16000), 16000)
    path.write_bytes(path.read_bytes()[:9000])


def _cut_in_the_header(path: Path) -> None:
    soundfile.write(path, clip(16000), 16000)
    path.write_bytes(path.read_bytes()[:20])


def _text(path: Path) -> None:
    path.write_text("this is not sound " * 100)


def _not_numbers(path: Path) -> None:
    soundfile.write(path, np.full(9000, np.nan), 16000, subtype="FLOAT")


def _hours(path: Path) -> None:
    """Write a small file of one hour."""
    soundfile.write(path, np.zeros(3600 * 8), 8, subtype="PCM_U8")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_absent, "audio file a.wav is missing"),
        (_empty, "a.wav is an empty file"),
        (_no_samples, "a.wav holds no sound"),
        (_cut, "a.wav is cut short: 9,000 bytes of 35,244"),
        (_cut_in_the_header, "a.wav is cut short"),
        (_text, "a.wav is not an audio file that can be read"),
        (_not_numbers, "a.wav holds samples that are not numbers"),
        (_hours, "a.wav lasts 60 minutes .1 channels of 8 Hz., too long"),
        (_folder, "a.wav cannot be read"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, damage: object, message: str) -> None:
    damage(tmp_path / "a.wav")  # type: ignore[operator]
    with pytest.raises(DataError, match=message) as caught:
        read_audio(tmp_path / "a.wav")
    assert str(caught.value).startswith(f"{tmp_path / 'a.wav'}: ")
    assert caught.value.hint


def test_a_silent_file_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(9000), 16000)
    with pytest.raises(DataError, match=r"a\.wav is silent"):
        read_mel(tmp_path / "a.wav", MelSettings())


def test_real_recordings_of_several_rates(shared_data: Path) -> None:
    paths = sorted((shared_data / "spokencoco" / "aud").glob("*.wav"))
    assert paths
    rates = set()
    for path in paths:
        waveform, rate = read_audio(path)
        rates.add(rate)
        mel = log_mel(waveform, rate, MelSettings())
        assert len(mel) == pytest.approx(len(waveform) / rate * 22050 / 220, abs=3)
        assert np.abs(mel.mean(axis=0)).max() < 1e-3
        assert np.abs(mel.std(axis=0) - 1).max() < 1e-3
    assert len(rates) > 1
