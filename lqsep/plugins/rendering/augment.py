"""Make a rendered stem sound less like its SoundFont: equaliser, dynamics, room, width, level.

All choices are drawn first, as an ``Augmentation`` that can be stored; applying it is
deterministic. Waves are float64 of shape ``channels samples``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lqsep.core.signal.fast_lengths import fast_length

Wave = npt.NDArray[np.float64]

TARGET_RMS = 0.1
"""Root mean square of every stem over the whole track, before ``level_db``."""

PEAK_LIMIT = 0.99
"""No sample is larger: 1.0 would clip in integer formats after rounding."""

# Amplitude from which `normalise` rounds peaks.
_KNEE = 0.7

# Steps in which responses of filters are computed.
_RESPONSE_STEP_HZ = 1.0

# Samples per step of a compressor: 1.5 ms at 44,100 Hz.
_BLOCK = 64

# Filters are applied in the frequency domain; this much silence keeps their tails from wrapping.
_TAIL_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Peak:
    """A bell of an equaliser."""

    frequency_hz: float
    gain_db: float
    quality: float


@dataclass(frozen=True, kw_only=True)
class Compression:
    """A compressor; its threshold is relative to the root mean square of the stem."""

    threshold_db: float
    ratio: float
    attack_s: float
    release_s: float


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to one stem, in the order of the fields."""

    tilt_db: float = 0.0
    peaks: tuple[Peak, ...] = ()
    high_pass_hz: float | None = None
    low_pass_hz: float | None = None
    compression: Compression | None = None
    saturation: float = 0.0
    room_level: float = 0.0
    room_decay_s: float = 0.2
    room_low_pass_hz: float = 8000.0
    room_seed: int = 0
    width: float = 1.0
    pan: float = 0.0
    level_db: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def draw_augmentation(seed: int, stem: str) -> Augmentation:
    """Draw the augmentation of a stem. ``"bass"`` keeps its lows, stays narrow and fairly dry."""
    draw = _Draw(seed)
    is_bass = stem == "bass"
    has_room = draw.chance(0.25 if is_bass else 0.6)
    is_dull = draw.chance(0.4 if is_bass else 0.05)
    return Augmentation(
        tilt_db=draw.uniform(-6, 6),
        peaks=draw.peaks(4),
        high_pass_hz=draw.uniform(20, 40 if is_bass else 70) if draw.chance(0.4) else None,
        low_pass_hz=draw.logarithmic(500, 6000)
        if is_dull
        else (draw.uniform(6000, 16000) if draw.chance(0.25) else None),
        compression=draw.compression() if draw.chance(0.5) else None,
        saturation=draw.logarithmic(0.3, 5.0) if draw.chance(0.5) else 0.0,
        room_level=draw.uniform(0.02, 0.15 if is_bass else 0.6) if has_room else 0.0,
        room_decay_s=draw.logarithmic(0.08, 0.5 if is_bass else 1.5),
        room_low_pass_hz=draw.logarithmic(1500, 12000),
        room_seed=draw.integer(2**31),
        width=draw.uniform(0.0, 0.4) if is_bass else draw.uniform(0.3, 1.2),
        pan=draw.uniform(-0.1, 0.1),
        level_db=draw.uniform(-3, 3),
    )


def draw_tone(seed: int) -> Augmentation:
    """Draw an equaliser for a part of a stem."""
    draw = _Draw(seed)
    return Augmentation(tilt_db=draw.uniform(-3, 3), peaks=draw.peaks(2))


class _Draw:
    """Random numbers with few digits, to be stored."""

    def __init__(self, seed: int):
        self._rng = np.random.default_rng(seed)

    def uniform(self, low: float, high: float) -> float:
        return round(float(self._rng.uniform(low, high)), 4)

    def logarithmic(self, low: float, high: float) -> float:
        return round(float(np.exp(self._rng.uniform(np.log(low), np.log(high)))), 4)

    def chance(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def integer(self, high: int) -> int:
        return int(self._rng.integers(high))

    def peaks(self, at_most: int) -> tuple[Peak, ...]:
        return tuple(
            Peak(
                frequency_hz=self.logarithmic(60, 8000),
                gain_db=self.uniform(-8, 8),
                quality=self.uniform(0.5, 2.0),
            )
            for _ in range(self.integer(at_most + 1))
        )

    def compression(self) -> Compression:
        return Compression(
            threshold_db=self.uniform(-12, 6),
            ratio=self.logarithmic(1.5, 8),
            attack_s=self.logarithmic(0.001, 0.03),
            release_s=self.logarithmic(0.05, 0.3),
        )


def apply_augmentation(wave: Wave, sample_rate: int, augmentation: Augmentation) -> Wave:
    """Apply everything but the level, which ``normalise`` sets."""
    if augmentation == Augmentation():
        return wave
    wave = _filter(wave, sample_rate, augmentation)
    if augmentation.compression is not None:
        wave = compress(wave, sample_rate, augmentation.compression)
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


def compress(wave: Wave, sample_rate: int, settings: Compression) -> Wave:
    """Turn loud moments down, as far as ``settings`` say; all channels alike.

    The level is that of blocks of ``_BLOCK`` samples, smoothed with the attack time while it rises
    and the release time while it falls; gains between blocks are interpolated.
    """
    n_samples = wave.shape[-1]
    n_blocks = -(-n_samples // _BLOCK)
    padded = np.pad(wave, ((0, 0), (0, n_blocks * _BLOCK - n_samples)))
    powers = np.mean(padded.reshape(len(wave), n_blocks, _BLOCK) ** 2, axis=(0, 2))
    threshold = float(np.mean(powers)) * 10 ** (settings.threshold_db / 10)
    if threshold == 0:
        return wave
    excess_db = 10 * np.log10(np.maximum(powers / threshold, 1.0))
    block_s = _BLOCK / sample_rate
    rising, falling = (1 - np.exp(-block_s / t) for t in (settings.attack_s, settings.release_s))
    level, smoothed = 0.0, np.empty(n_blocks)
    for index, target in enumerate(excess_db.tolist()):
        level += (rising if target > level else falling) * (target - level)
        smoothed[index] = level
    gain_db = smoothed * (1 / settings.ratio - 1)
    places = (np.arange(n_blocks) + 0.5) * _BLOCK
    gains = 10 ** (np.interp(np.arange(n_samples), places, gain_db) / 20)
    compressed: Wave = wave * gains
    return compressed


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
    n_fft = fast_length(n_samples + int(_TAIL_S * sample_rate))
    frequencies = np.asarray(np.fft.rfftfreq(n_fft, 1 / sample_rate), dtype=np.float64)
    # Computing the response takes longer than the transforms, unless it is interpolated.
    n_coarse = int(sample_rate / 2 / _RESPONSE_STEP_HZ) + 2
    coarse = np.linspace(0.0, sample_rate / 2, n_coarse)
    response = frequency_response(coarse, sample_rate, augmentation)
    response = np.interp(frequencies, coarse, response)
    spectrum = np.multiply(np.fft.rfft(wave, n_fft, axis=-1), response)
    return np.fft.irfft(spectrum, n_fft, axis=-1)[..., :n_samples]


def _add_room(wave: Wave, sample_rate: int, augmentation: Augmentation) -> Wave:
    """Add decaying noise reflections, darker than the wave; another noise per channel."""
    rng = np.random.default_rng(augmentation.room_seed)
    n_tail = max(1, int(augmentation.room_decay_s * sample_rate))
    n_delay = int(rng.uniform(0.003, 0.02) * sample_rate)
    # 60 dB down at the end of the tail.
    decay = 10 ** (-3 * np.arange(n_tail) / n_tail)
    noise = rng.standard_normal((wave.shape[0], n_tail)) * decay
    n_samples = wave.shape[-1]
    n_fft = fast_length(n_samples + n_tail + n_delay)
    impulse = np.zeros((wave.shape[0], n_tail + n_delay))
    impulse[:, n_delay:] = noise
    response = np.fft.rfft(impulse, n_fft, axis=-1)
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    response /= 1 + 1j * frequencies / augmentation.room_low_pass_hz
    energy = np.mean(np.abs(response) ** 2, axis=-1, keepdims=True)
    response /= np.sqrt(energy)
    wet = np.fft.irfft(np.fft.rfft(wave, n_fft, axis=-1) * response, n_fft, axis=-1)
    return wave + augmentation.room_level * wet[..., :n_samples]
