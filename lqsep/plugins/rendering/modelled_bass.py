"""Bass parts played with computed strings and synthesisers.

A note is a sum of harmonics, each with its own decay, below a filter that closes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lqsep.plugins.rendering.compose import Note, Part
from lqsep.plugins.rendering.modelled import Sound, add_sound, decay, draw_between
from lqsep.plugins.rendering.synth import SYNTH_SAMPLE_RATE, resample

# Basses are computed at this rate, with harmonics up to nearly half of it.
_BASS_RATE = 11025
_MOST_HARMONICS = 48


@dataclass(frozen=True, kw_only=True)
class _Bass:
    """Amplitudes of harmonics and how they change; times in seconds."""

    slope: float
    even: float
    pluck: float
    stiffness: float
    length_s: float
    damping: float
    cutoff_hz: float
    opening: float
    closing_s: float
    attack_s: float
    release_s: float
    beating_hz: float
    noise: float


def _draw_bass(rng: np.random.Generator) -> _Bass:
    def between(low: float, high: float) -> float:
        return draw_between(rng, low, high)

    if rng.random() < 0.6:  # a string
        return _Bass(
            slope=rng.uniform(0.6, 1.6),
            even=1.0,
            pluck=rng.uniform(0.05, 0.45),
            stiffness=between(1e-6, 2e-4),
            length_s=between(1.0, 8.0),
            damping=rng.uniform(0.3, 1.1),
            cutoff_hz=between(200, 4000),
            opening=between(1, 4),
            closing_s=between(0.03, 0.4),
            attack_s=between(0.001, 0.015),
            release_s=between(0.02, 0.12),
            beating_hz=between(0.02, 0.5),
            noise=between(0.003, 0.2),
        )
    return _Bass(
        slope=rng.uniform(0.5, 2.5),
        even=rng.choice((0.0, 1.0, rng.uniform())),
        pluck=0.0,
        stiffness=0.0,
        length_s=between(1.0, 60.0),
        damping=0.0,
        cutoff_hz=between(80, 3000),
        opening=between(1, 12),
        closing_s=between(0.03, 0.6),
        attack_s=between(0.001, 0.03),
        release_s=between(0.01, 0.2),
        beating_hz=between(0.05, 3.0),
        noise=0.0,
    )


def play_bass(part: Part, n_samples: int, rng: np.random.Generator) -> Sound:
    """Play with the bass that ``rng`` gives.

    Returns:
        Wave of ``n_samples`` samples at ``SYNTH_SAMPLE_RATE``.
    """
    bass = _draw_bass(rng)
    phases = rng.uniform(0, 2 * np.pi, _MOST_HARMONICS)
    wave = np.zeros(n_samples)
    slow = np.zeros(-(-n_samples * _BASS_RATE // SYNTH_SAMPLE_RATE))
    for note in part.notes:
        frequency = 440 * 2 ** ((note.pitch + part.detune - 69) / 12)
        gain = (note.velocity / 127) ** 1.5
        sound = _pluck(bass, frequency, note, phases, rng)
        add_sound(slow, gain * sound, note, _BASS_RATE)
    fast = resample(slow, _BASS_RATE, SYNTH_SAMPLE_RATE)[:n_samples]
    wave[: len(fast)] = fast
    return wave


def _pluck(
    bass: _Bass, frequency: float, note: Note, phases: Sound, rng: np.random.Generator
) -> Sound:
    length_s = note.duration_s + 3 * bass.release_s
    time_s = np.arange(int(length_s * _BASS_RATE)) / _BASS_RATE
    n_harmonics = max(1, min(_MOST_HARMONICS, int(0.45 * _BASS_RATE / frequency)))
    number = np.arange(1, n_harmonics + 1)
    amplitude = number**-bass.slope * np.where(number % 2, 1.0, bass.even)
    if bass.pluck:
        amplitude = amplitude * np.abs(np.sin(np.pi * number * bass.pluck))
    harmonics = number * frequency * np.sqrt(1 + bass.stiffness * number**2)
    brightness = 2 ** ((note.velocity - 90) / 40)
    cutoff = bass.cutoff_hz * brightness
    cutoffs = cutoff * (1 + (bass.opening - 1) * np.exp(-time_s / bass.closing_s))
    envelope = amplitude[:, None] / (1 + (harmonics[:, None] / cutoffs) ** 2)
    envelope *= decay(time_s * number[:, None] ** bass.damping, bass.length_s)
    angle = 2 * np.pi * harmonics[:, None] * time_s + phases[:n_harmonics, None]
    # A second oscillator, or the string's other direction, beats with the first.
    envelope *= 0.75 + 0.25 * np.cos(2 * np.pi * bass.beating_hz * number[:, None] * time_s)
    sound = np.sum(envelope * np.sin(angle), axis=0)
    sound += bass.noise * brightness * rng.standard_normal(len(time_s)) * np.exp(-time_s / 0.008)
    off_s = np.maximum(0.0, time_s - note.duration_s)
    envelope = np.minimum(1.0, time_s / bass.attack_s) * np.exp(-off_s / bass.release_s)
    return np.asarray(sound * envelope)
