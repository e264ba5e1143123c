"""Speech as numbers: mono waveforms from audio files, resampling and log-mel features.

The features are those of S2IGAN's public code (its CRNN path): 40 Slaney mel bands of the power spectrum in windows of
25 ms every 10 ms, natural logarithm, mean and variance normalised per utterance. torch and the audio libraries are
imported when first used, so that a dataset without speech does not need them.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from gancli.errors import DataError

if TYPE_CHECKING:
    import soundfile
    import torch

FEWEST_FRAMES = 16  # two convolutions of kernel 6 and stride 2 reduce them to one
LONGEST_SECONDS = 1800  # a longer recording is no caption
MOST_SAMPLES = 2**28  # in all channels together, 1 GiB of memory
SILENCE = 1e-4  # -80 dB of full scale, above the noise of 16 bits with dither
LEAST_DEVIATION = 1e-5  # of a band over time: less would amplify rounding errors of a constant band
STREAMED = 0x7FFF0000  # RIFF sizes from here on come from programs that cannot seek back to fill in the size


class MelSettings(BaseModel):
    """Settings of the log-mel features. An encoder and the datasets it is used on have to agree on them.

    Attributes:
        sample_rate: Rate in Hz that every clip is resampled to; None keeps each file's own rate (the "WAV" path of
            S2IGAN's code) and counts window and hop in its samples.
        window_ms, hop_ms: Length and distance of the windows, rounded down to whole samples (551 and 220 at 22,050
            Hz). The FFT is as long as the window.
        bands: Number of mel bands between 0 Hz and half the rate.
        centre_pad: Padding of half a window before and after the clip: zeros (librosa since 0.10) or the mirrored
            clip (librosa before, as in S2IGAN). Only the first and last frames differ.
        cmvn: Normalise each band to mean 0 and standard deviation 1 over the utterance.
        log_offset: Term added to the mel power before the logarithm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_rate: int | None = Field(default=22050, ge=4000, le=192000)
    window_ms: int = Field(default=25, ge=5, le=200)
    hop_ms: int = Field(default=10, ge=1, le=200)
    bands: int = Field(default=40, ge=4, le=256)
    centre_pad: Literal["constant", "reflect"] = "constant"
    cmvn: bool = True
    log_offset: float = Field(default=1e-6, gt=0, le=1)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One spoken caption of an image, as a shard stores it.

    Attributes:
        caption: Index of the caption among those of its image.
        mel: (T, bands) float16 log-mel features.
        waveform: (L,) int16 samples of full scale 32,768; None if the dataset stores no audio.
        rate: Rate of `waveform` in Hz.
    """

    caption: int
    mel: NDArray[np.float16]
    waveform: NDArray[np.int16] | None = None
    rate: int = 0


class UnusableSpeech(DataError):
    """A clip cannot be used. The message leaves out its folder, which may differ between machines."""


def read_audio(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Read an audio file: wav of any width, rate and channel count, or FLAC, Ogg, MP3.

    Returns:
        (L,) float32 mono waveform in [-1, 1], the mean of the channels, and its rate in Hz.

    Raises:
        DataError: The file is missing, not audio, empty, cut short or longer than half an hour.
    """
    path = Path(path)
    try:
        return load_audio(path)
    except UnusableSpeech as error:
        hint = "another program may read it: `ffmpeg -i FILE.any FILE.wav` writes plain wav"
        raise DataError(f"{path}: {error}", hint=hint) from None


def read_mel(path: str | Path, settings: MelSettings) -> NDArray[np.float32]:
    """Return the log-mel features of an audio file, (T, bands).

    Raises:
        DataError: `read_audio` cannot read the file, or the clip is silent.
    """
    waveform, rate = read_audio(path)
    try:
        return log_mel(waveform, rate, settings)
    except UnusableSpeech as error:
        raise DataError(f"{path} {error}") from None


def load_audio(source: str | Path | bytes, name: str = "") -> tuple[NDArray[np.float32], int]:
    """Read an audio file like `read_audio`, from a path or from its content.

    Args:
        source: A path, or the bytes of an audio file.
        name: Name of the file in messages; by default the name of the path.

    Raises:
        UnusableSpeech: The file cannot be used.
    """
    import soundfile

    source = Path(source) if isinstance(source, str) else source
    name = name or (source.name if isinstance(source, Path) else "the audio")
    try:
        _refuse_cut(source, name)
        with soundfile.SoundFile(source if isinstance(source, Path) else io.BytesIO(source)) as file:
            return _decode(file, name), file.samplerate
    except FileNotFoundError:
        raise UnusableSpeech(f"audio file {name} is missing") from None
    except soundfile.LibsndfileError as error:
        raise UnusableSpeech(f"{name} is not an audio file that can be read ({error.error_string})") from None
    except OSError as error:
        raise UnusableSpeech(f"{name} cannot be read ({error.strerror or error})") from None


def _refuse_cut(source: Path | bytes, name: str) -> None:
    """Refuse an empty file and a wav shorter than its header says, which libsndfile would read as far as it goes."""
    if isinstance(source, Path):
        size = os.stat(source).st_size
        with open(source, "rb") as file:
            head = file.read(12)
    else:
        size, head = len(source), source[:12]
    if not size:
        raise UnusableSpeech(f"{name} is an empty file")
    announced = int.from_bytes(head[4:8], "little") + 8
    if head[:4] == b"RIFF" and head[8:] == b"WAVE" and size + 1 < announced < STREAMED:
        raise UnusableSpeech(f"{name} is cut short: {size:,} bytes of {announced:,}")


def _decode(file: soundfile.SoundFile, name: str) -> NDArray[np.float32]:
    seconds = file.frames / file.samplerate
    if seconds > LONGEST_SECONDS or file.frames * file.channels > MOST_SAMPLES:
        form = f"{file.channels} channels of {file.samplerate:,} Hz"
        raise UnusableSpeech(
            f"{name} lasts {seconds / 60:,.0f} minutes ({form}), too long for a spoken caption"
        )
    samples = file.read(dtype="float32", always_2d=True)  # (L, channels)
    if not len(samples):
        raise UnusableSpeech(f"{name} holds no sound")
    if len(samples) < file.frames:
        raise UnusableSpeech(f"{name} is cut short: {len(samples):,} samples of {file.frames:,}")
    waveform: NDArray[np.float32] = samples.mean(axis=1)
    if not np.isfinite(waveform).all():
        raise UnusableSpeech(f"{name} holds samples that are not numbers")
    return waveform.clip(-1, 1)


def resample(waveform: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    """Return the waveform at another rate, (ceil(L * new_rate / rate),) float32, give or take a sample.

    soxr in high quality is also librosa's default, so features equal those of code built on librosa. SciPy's
    `resample_poly` with its default filter lets through more of the band above half the new rate.
    """
    if rate == new_rate:
        return waveform
    import soxr

    resampled: NDArray[np.float32] = soxr.resample(waveform, rate, new_rate, quality="HQ")
    return resampled


def log_mel(waveform: NDArray[np.float32], rate: int, settings: MelSettings) -> NDArray[np.float32]:
    """Return the log-mel features of one utterance.

    They equal librosa's `log(feature.melspectrogram(...) + log_offset)` with its defaults (periodic Hann window,
    centred frames, power, Slaney mel scale and area normalisation), transposed and, with `settings.cmvn`, normalised
    per band.

    Args:
        waveform: (L,) float32 mono in [-1, 1].
        rate: Rate of the waveform in Hz.
        settings: Settings of the features.

    Returns:
        (T, bands) float32 with T = 1 + L // hop for an even window, and at least 16. A shorter clip is padded with
        silence (0 if normalised), which an encoder cannot tell from the clip.

    Raises:
        UnusableSpeech: The clip is empty or silent.
    """
    import torch

    if not len(waveform):
        raise UnusableSpeech("holds no sound")
    # Measured from the mean: 8-bit recordings of silence often lie one step off zero
    if float(np.abs(waveform - waveform.mean()).max()) < SILENCE:
        raise UnusableSpeech("is silent")
    if settings.sample_rate is not None:
        waveform, rate = resample(waveform, rate, settings.sample_rate), settings.sample_rate
        if not len(waveform):  # resampling leaves nothing of a sample or two at a higher rate
            waveform = np.zeros(1, np.float32)
    window, hop = (max(1, rate * length // 1000) for length in (settings.window_ms, settings.hop_ms))
    # np.pad, not torch's padding: it also mirrors clips shorter than half a window
    padded = np.pad(waveform, window // 2, mode=settings.centre_pad)
    with _one_thread():
        # float64 costs little more; in float32 quiet bands beside loud ones are off by up to 1e-4
        spectrum = torch.stft(
            torch.from_numpy(padded).double(),
            n_fft=window,
            hop_length=hop,
            window=torch.hann_window(window, dtype=torch.float64),
            center=False,
            return_complex=True,
        )  # (bins, T)
        power = spectrum.real.square() + spectrum.imag.square()
        mel = (_filters(rate, window, settings.bands) @ power + settings.log_offset).log().T  # (T, bands)
        if settings.cmvn:
            deviation, mean = torch.std_mean(mel, dim=0, correction=0)
            mel = (mel - mean) / deviation.clamp(min=LEAST_DEVIATION)
    features: NDArray[np.float32] = mel.float().contiguous().numpy()
    if len(features) < FEWEST_FRAMES:
        silence = 0.0 if settings.cmvn else math.log(settings.log_offset)
        missing = FEWEST_FRAMES - len(features)
        features = np.pad(features, ((0, missing), (0, 0)), constant_values=np.float32(silence))
    return features


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit torch to one thread: clips are too short for more, and the order of sums becomes deterministic."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=8)
def _filters(rate: int, n_fft: int, bands: int) -> torch.Tensor:
    """Return the mel filters of Slaney's auditory toolbox, (bands, n_fft // 2 + 1): triangles in Hz of area one.

    The centres of the bins are k * rate / n_fft; for an odd `n_fft` they end below half the rate.
    """
    import torch

    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(rate / 2), bands + 2))  # (bands + 2,) Hz
    bins = np.arange(n_fft // 2 + 1) * (rate / n_fft)  # Hz
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (upper - lower)
    return torch.from_numpy(triangles)


def _hz_to_mel(hertz: float) -> float:
    """Convert to Slaney's mel scale: linear up to 1,000 Hz (mel 15), logarithmic above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = 1000 * np.exp((mel - 15) * math.log(6.4) / 27)
    return np.where(mel < 15, mel * 200 / 3, logarithmic)
