"""Make a rendered stem sound less like its SoundFont: equaliser, saturation, room, width, level.

All choices are drawn first, as an ``Augmentation`` that can be stored; applying it is
deterministic. Waves are float64 of shape ``channels samples``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float64]

TARGET_RMS = 0.1
"""Root mean square of every stem over the whole track, before ``level_db``."""

PEAK_LIMIT = 0.99
"""No sample is larger: 1.0 would clip in integer formats after rounding."""

# Amplitude from which `normalise` rounds peaks.
_KNEE = 0.7

# Filters are applied in the frequency domain; this much silence keeps their tails from wrapping.
_TAIL_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Peak:
    """A bell of an equaliser."""

    frequency_hz: float
    gain_db: float
    quality: float


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to one stem, in the order of the fields."""

    tilt_db: float = 0.0
    peaks: tuple[Peak, ...] = ()
    high_pass_hz: float | None = None
    low_pass_hz: float | None = None
    saturation: float = 0.0
    room_level: float = 0.0
    room_decay_s: float = 0.2
    room_seed: int = 0
    width: float = 1.0
    pan: float = 0.0
    level_db: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def draw_augmentation(seed: int, stem: str) -> Augmentation:
    """Draw the augmentation of a stem. ``"bass"`` keeps its lows, stays narrow and fairly dry."""
    rng = np.random.default_rng(seed)
    is_bass = stem == "bass"

    def uniform(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 4)

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    peaks = tuple(
        Peak(
            frequency_hz=round(float(np.exp(rng.uniform(np.log(60), np.log(8000)))), 2),
            gain_db=uniform(-6, 6),
            quality=uniform(0.5, 2.0),
        )
        for _ in range(int(rng.integers(0, 4)))
    )
    return Augmentation(
        tilt_db=uniform(-4, 4),
        peaks=peaks,
        high_pass_hz=uniform(20, 35 if is_bass else 60) if chance(0.4) else None,
        low_pass_hz=uniform(1200, 8000)
        if chance(0.35 if is_bass else 0.0)
        else (uniform(7000, 16000) if chance(0.25) else None),
        saturation=uniform(0.2, 2.0) if chance(0.4) else 0.0,
        room_level=uniform(0.02, 0.15 if is_bass else 0.35)
        if chance(0.25 if is_bass else 0.5)
        else 0.0,
        room_decay_s=uniform(0.08, 0.5),
        room_seed=int(rng.integers(2**31)),
        width=uniform(0.0, 0.4) if is_bass else uniform(0.3, 1.2),
        pan=uniform(-0.1, 0.1),
        level_db=uniform(-2, 2),
    )


def apply_augmentation(wave: Wave, sample_rate: int, augmentation: Augmentation) -> Wave:
    """Apply everything but the level, which ``normalise`` sets."""
    wave = _filter(wave, sample_rate, augmentation)
    if augmentation.saturation > 0:
        wave = saturate(wave, augmentation.saturation)
    if augmentation.room_level > 0:
        wave = _add_room(wave, sample_rate, augmentation)
    if wave.shape[0] == 2:
        middle, side = (wave[0] + wave[1]) / 2, (wave[0] - wave[1]) / 2 * augmentation.width
        pan = augmentation.pan
        wave = np.stack(((middle + side) * (1 - pan), (middle - side) * (1 + pan)))
    return wave


def normalise(wave: Wave, level_db: float = 0.0) -> Wave:
    """Bring the root mean square to about ``TARGET_RMS``, changed by ``level_db``; limit peaks.

    Peaks beyond the knee are rounded, which lowers the level of very spiky stems a little. Silence
    stays silence.
    """
    rms = float(np.sqrt(np.mean(wave**2)))
    if rms == 0:
        return wave
    scaled = wave * (TARGET_RMS * 10 ** (level_db / 20) / rms)
    room = PEAK_LIMIT - _KNEE
    excess = np.maximum(np.abs(scaled) - _KNEE, 0.0)
    rounded = np.sign(scaled) * (_KNEE + room * np.tanh(excess / room))
    return np.where(excess > 0, rounded, scaled)


def saturate(wave: Wave, drive: float) -> Wave:
    """Soft tanh saturation: ``drive`` is the peak's place on the curve, 0 changes nothing."""
    peak = float(np.abs(wave).max())
    if peak == 0 or drive == 0:
        return wave
    saturated: Wave = np.tanh(wave * (drive / peak)) * (peak / np.tanh(drive))
    return saturated


def frequency_response(
    frequencies: npt.NDArray[np.float64], sample_rate: int, augmentation: Augmentation
) -> npt.NDArray[np.complex128]:
    """Complex response of tilt, peaks and filters at the given frequencies in Hz.

    The filters are analog prototypes, causal and stable, evaluated on the frequency axis; the tilt
    is an increase in decibels from 100 Hz to 10 kHz without phase shift.
    """
    s = 1j * np.maximum(frequencies, 1e-3)
    octaves = np.log10(np.clip(frequencies, 50.0, sample_rate / 2) / 1000.0)
    response = (10 ** (augmentation.tilt_db * octaves / 2 / 20)).astype(np.complex128)
    for peak in augmentation.peaks:
        amplitude, ratio = 10 ** (peak.gain_db / 40), s / peak.frequency_hz
        damping = ratio / peak.quality
        response *= (ratio**2 + damping * amplitude + 1) / (ratio**2 + damping / amplitude + 1)
    if augmentation.high_pass_hz is not None:
        ratio = s / augmentation.high_pass_hz
        response *= ratio**2 / (ratio**2 + np.sqrt(2) * ratio + 1)
    if augmentation.low_pass_hz is not None:
        ratio = s / augmentation.low_pass_hz
        response *= 1 / (ratio**2 + np.sqrt(2) * ratio + 1)
    return response


def _filter(wave: Wave, sample_rate: int, augmentation: Augmentation) -> Wave:
    n_samples = wave.shape[-1]
    n_fft = _fast_length(n_samples + int(_TAIL_S * sample_rate))
    frequencies = np.asarray(np.fft.rfftfreq(n_fft, 1 / sample_rate), dtype=np.float64)
    response = frequency_response(frequencies, sample_rate, augmentation)
    spectrum = np.multiply(np.fft.rfft(wave, n_fft, axis=-1), response)
    return np.fft.irfft(spectrum, n_fft, axis=-1)[..., :n_samples]


def _add_room(wave: Wave, sample_rate: int, augmentation: Augmentation) -> Wave:
    """Add decaying noise reflections, a little darker than the wave; another noise per channel."""
    rng = np.random.default_rng(augmentation.room_seed)
    n_tail = max(1, int(augmentation.room_decay_s * sample_rate))
    n_delay = int(rng.uniform(0.003, 0.02) * sample_rate)
    # 60 dB down at the end of the tail.
    decay = 10 ** (-3 * np.arange(n_tail) / n_tail)
    noise = rng.standard_normal((wave.shape[0], n_tail)) * decay
    # A two-point running mean halves the energy of the highs.
    noise[:, 1:] = (noise[:, 1:] + noise[:, :-1]) / 2
    noise /= np.sqrt(np.sum(noise**2, axis=-1, keepdims=True))
    n_samples = wave.shape[-1]
    n_fft = _fast_length(n_samples + n_tail + n_delay)
    impulse = np.zeros((wave.shape[0], n_tail + n_delay))
    impulse[:, n_delay:] = noise
    wet = np.fft.irfft(
        np.fft.rfft(wave, n_fft, axis=-1) * np.fft.rfft(impulse, n_fft, axis=-1), n_fft, axis=-1
    )
    return wave + augmentation.room_level * wet[..., :n_samples]


def _fast_length(minimum: int) -> int:
    """The next length with prime factors 2, 3 and 5 only, for which FFTs are fast."""
    length = minimum
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
