"""Copies of a training wave that sound like other instruments, rooms and recordings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lqsep.core.signal.fast_lengths import fast_length
from lqsep.core.training.settings import VariationSettings

# Bells of an equaliser, and their widths in octaves.
_BELLS = 3
_WIDTHS = (0.4, 1.6)

# Where their centres lie, Hz; the tilt turns around the middle of it, 4 octaves to both sides.
_LOWEST_HZ, _MIDDLE_HZ, _HIGHEST_HZ = 40.0, 500.0, 10_000.0
_TILT_OCTAVES = 4.0

# Waves have a multiple of so many samples while they are transformed, otherwise these factors.
_GRID = 64
_PRIMES = (2, 3, 5, 7)

# Frequencies at which an equaliser is computed; those between are interpolated.
_CURVE_POINTS = 4096


@dataclass(frozen=True)
class Variation:
    """How far copies differ from the original, each drawn by itself, evenly.

    Args:
        gain_db: Level, plus or minus.
        eq_db: Height of an equaliser's tilt at its ends and of each of three bells, plus or minus;
            the level stays.
        semitones: Pitch, plus or minus, rounded to what is quick; the tempo goes with it.
    """

    gain_db: float = 0.0
    eq_db: float = 0.0
    semitones: float = 0.0

    @classmethod
    def of(cls, settings: VariationSettings) -> Variation:
        """As a trainer is configured."""
        return cls(settings.gain_db, settings.eq_db, settings.semitones)

    def copy(
        self,
        wave: Float[Tensor, " samples"],
        sample_rate: int,
        hop_length: int,
        generator: torch.Generator,
    ) -> Float[Tensor, " _samples"]:
        """A copy whose frames begin elsewhere, by less than ``hop_length``.

        One sample at least is left of a wave that has any.
        """
        shift = int(torch.randint(hop_length, (), generator=generator))
        factor: float = 10 ** (self.gain_db * _even(generator) / 20)
        if len(wave) and (self.eq_db or self.semitones):
            ratio = 2 ** (self.semitones * _even(generator) / 12)
            wave = _filtered(wave, sample_rate, ratio, self.eq_db, generator)
        return wave[max(0, min(shift, len(wave) - 1)) :] * factor


def _even(generator: torch.Generator) -> float:
    """Evenly from -1 to 1."""
    return 2 * float(torch.rand((), generator=generator)) - 1


def _filtered(
    wave: Float[Tensor, " samples"],
    sample_rate: int,
    ratio: float,
    eq_db: float,
    generator: torch.Generator,
) -> Float[Tensor, " _samples"]:
    """Pitch times ``ratio`` and an equaliser, by one transform; the RMS stays."""
    n_old = fast_length(len(wave), grid=_GRID, primes=_PRIMES)
    n_new = n_old
    if ratio != 1:
        n_new = fast_length(n_old / ratio, grid=_GRID, primes=_PRIMES)
    spectrum = torch.fft.rfft(wave, n_old)
    kept = min(len(spectrum), n_new // 2 + 1)
    changed = spectrum.new_zeros(n_new // 2 + 1)
    changed[:kept] = spectrum[:kept]
    if eq_db:
        factors = 10 ** (eq_db * _curve(sample_rate, generator) / 20)
        shape = (1, 1, _CURVE_POINTS)
        changed *= F.interpolate(
            factors.view(shape), len(changed), mode="linear", align_corners=True
        ).view(-1)
    length = max(1, round(len(wave) * n_new / n_old))
    result: Tensor = torch.fft.irfft(changed, n_new)[:length]
    loudness: Tensor = wave.square().mean().sqrt() / result.square().mean().sqrt().clamp(min=1e-12)
    return result * loudness


def _curve(sample_rate: int, generator: torch.Generator) -> Float[Tensor, " points"]:
    """A smooth curve from 0 Hz to half the rate, most values between -2 and 2."""
    hz = torch.linspace(0, sample_rate / 2, _CURVE_POINTS)
    octave = (hz.clamp(min=20) / _MIDDLE_HZ).log2()
    curve = _even(generator) * octave.clamp(-_TILT_OCTAVES, _TILT_OCTAVES) / _TILT_OCTAVES
    lowest, highest = (math.log2(edge / _MIDDLE_HZ) for edge in (_LOWEST_HZ, _HIGHEST_HZ))
    for _ in range(_BELLS):
        centre = lowest + (highest - lowest) * (_even(generator) + 1) / 2
        width = _WIDTHS[0] + (_WIDTHS[1] - _WIDTHS[0]) * (_even(generator) + 1) / 2
        curve = curve + _even(generator) * (((octave - centre) / width).square() / -2).exp()
    return curve
