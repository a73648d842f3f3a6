"""Drum parts played with computed drums: decaying tones and shaped noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from lqsep.plugins.rendering import genres
from lqsep.plugins.rendering.compose import Note, Part
from lqsep.plugins.rendering.modelled import Sound, add_sound, decay, draw_between
from lqsep.plugins.rendering.synth import SYNTH_SAMPLE_RATE

# Hits of a drum are computed for this many velocities, twice each: no two sound the same.
_N_VELOCITIES, _N_TAKES = 3, 2

_CLOSED = (genres.CLOSED_HAT, genres.PEDAL_HAT)
_RIDES = (genres.RIDE, genres.RIDE_BELL, 59)


@dataclass(frozen=True, kw_only=True)
class _Drum:
    """A tone whose pitch falls, partials of it, and noise in a band; times in seconds.

    ``level`` is the peak of a hard hit.
    """

    level: float
    frequency_hz: float = 200.0
    partials: tuple[float, ...] = ()
    fall: float = 1.0
    fall_s: float = 0.02
    tone_s: float = 0.2
    noise: float = 0.0
    noise_s: float = 0.1
    band_hz: tuple[float, float] = (1000.0, 8000.0)
    bursts: int = 1


def play_drums(part: Part, n_samples: int, rng: np.random.Generator) -> Sound:
    """Play with the drums that ``rng`` gives.

    Returns:
        Wave of ``n_samples`` samples at ``SYNTH_SAMPLE_RATE``.
    """
    wave = np.zeros(n_samples)
    pitches = sorted({note.pitch for note in part.notes})
    drums = {pitch: _DRUMS.get(pitch, _other)(rng, pitch) for pitch in pitches}
    hits: dict[tuple[int, int, int], Sound] = {}
    pitch_ratio = 2 ** (part.detune / 12)
    # How much louder hard hits are.
    dynamics = rng.uniform(0.8, 1.8)
    for index, note in enumerate(part.notes):
        level = min(_N_VELOCITIES - 1, note.velocity * _N_VELOCITIES // 128)
        take = int(rng.integers(_N_TAKES))
        hit = hits.get((note.pitch, level, take))
        if hit is None:
            brightness = (level + 1) / _N_VELOCITIES
            hit = _strike(drums[note.pitch], pitch_ratio, brightness, rng)
            hits[note.pitch, level, take] = hit
        gain = (note.velocity / 127) ** dynamics
        add_sound(wave, hit * gain, note, SYNTH_SAMPLE_RATE, _choke_s(part.notes, index))
    return wave


def _choke_s(notes: tuple[Note, ...], index: int) -> float:
    """Time until a note, if it is an open hi-hat, is ended by another stroke on the hi-hat."""
    note, hats = notes[index], (*_CLOSED, genres.OPEN_HAT)
    if note.pitch != genres.OPEN_HAT:
        return np.inf
    later = islice(notes, index + 1, None)
    return next((n.start_s - note.start_s for n in later if n.pitch in hats), np.inf)


def _kick(rng: np.random.Generator, pitch: int) -> _Drum:
    between = partial(draw_between, rng)
    return _Drum(
        level=1.6,
        frequency_hz=between(38, 80),
        partials=(between(1.4, 2.4),),
        fall=between(1.2, 8),
        fall_s=between(0.005, 0.05),
        tone_s=between(0.06, 0.5),
        noise=between(0.01, 0.5),
        noise_s=between(0.003, 0.03),
        band_hz=(between(300, 2500), between(2500, 9000)),
    )


def _snare(rng: np.random.Generator, pitch: int) -> _Drum:
    between = partial(draw_between, rng)
    return _Drum(
        level=1.0,
        frequency_hz=between(130, 300),
        partials=tuple(rng.uniform(1.3, 3.5, 3)),
        fall=between(1.0, 1.8),
        tone_s=between(0.03, 0.25),
        noise=between(0.4, 4),
        noise_s=between(0.05, 0.35),
        band_hz=(between(150, 2500), between(4000, 14000)),
    )


def _clap(rng: np.random.Generator, pitch: int) -> _Drum:
    between = partial(draw_between, rng)
    return _Drum(
        level=0.7,
        noise=6.0,
        noise_s=between(0.05, 0.3),
        tone_s=0.005,
        band_hz=(between(500, 1200), between(1500, 6000)),
        bursts=int(rng.integers(2, 6)),
    )


def _hat(rng: np.random.Generator, pitch: int) -> _Drum:
    between = partial(draw_between, rng)
    length_s = between(0.02, 0.1) if pitch in _CLOSED else between(0.2, 0.9)
    return _Drum(
        level=0.25,
        frequency_hz=between(250, 700),
        partials=_metal(rng, between(4, 12), 12),
        tone_s=length_s,
        noise=between(0.5, 20),
        noise_s=length_s,
        band_hz=(between(2500, 8000), 20000),
    )


def _cymbal(rng: np.random.Generator, pitch: int) -> _Drum:
    between = partial(draw_between, rng)
    is_ride = pitch in _RIDES
    return _Drum(
        level=0.25 if is_ride else 0.45,
        frequency_hz=between(250, 600),
        partials=_metal(rng, between(1, 8), 20),
        tone_s=between(0.5, 2.5),
        noise=between(0.3, 3) if is_ride else between(2, 20),
        noise_s=between(0.1, 0.6) if is_ride else between(0.5, 1.8),
        band_hz=(between(600, 5000), 20000),
    )


def _tom(rng: np.random.Generator, pitch: int) -> _Drum:
    between = partial(draw_between, rng)
    # The tables go from the highest to the lowest.
    step = genres.TOMS.index(pitch)
    return _Drum(
        level=1.0,
        frequency_hz=between(150, 260) * 0.8**step,
        partials=(between(1.4, 1.7),),
        fall=between(1.0, 2.0),
        fall_s=between(0.02, 0.1),
        tone_s=between(0.12, 0.6),
        noise=between(0.02, 0.6),
        noise_s=between(0.01, 0.1),
    )


def _shaken(rng: np.random.Generator, pitch: int) -> _Drum:
    between = partial(draw_between, rng)
    return _Drum(
        level=0.15,
        tone_s=0.005,
        noise=20.0,
        noise_s=between(0.02, 0.12),
        band_hz=(between(2500, 7000), 18000),
    )


def _other(rng: np.random.Generator, pitch: int) -> _Drum:
    between = partial(draw_between, rng)
    return _Drum(
        level=0.4,
        frequency_hz=between(150, 1800),
        partials=tuple(rng.uniform(1.2, 4.0, 2)),
        tone_s=between(0.02, 0.3),
        noise=between(0.02, 1.0),
        noise_s=between(0.005, 0.05),
    )


def _metal(rng: np.random.Generator, lowest: float, n: int) -> tuple[float, ...]:
    """Partials of a plate: anything but harmonics."""
    return tuple(lowest * rng.uniform(1.0, 12.0, n))


_DRUMS: dict[int, Callable[[np.random.Generator, int], _Drum]] = {
    **dict.fromkeys((35, genres.KICK), _kick),
    **dict.fromkeys((genres.SNARE, 40), _snare),
    genres.CLAP: _clap,
    **dict.fromkeys((*_CLOSED, genres.OPEN_HAT), _hat),
    **dict.fromkeys((*_RIDES, genres.CRASH, 52, 55, 57), _cymbal),
    **dict.fromkeys(genres.TOMS, _tom),
    **dict.fromkeys((genres.TAMBOURINE, genres.CABASA, genres.SHAKER), _shaken),
}
"""What draws the drum of a percussion key; ``_other`` draws the others."""


def _strike(drum: _Drum, pitch_ratio: float, brightness: float, rng: np.random.Generator) -> Sound:
    length_s = 1.2 * max(drum.tone_s, drum.noise_s) + 0.05
    time_s = np.arange(int(length_s * SYNTH_SAMPLE_RATE)) / SYNTH_SAMPLE_RATE
    # The integral of a frequency that falls by the factor `fall`.
    fallen_s = time_s + (drum.fall - 1) * drum.fall_s * (1 - np.exp(-time_s / drum.fall_s))
    angle = 2 * np.pi * drum.frequency_hz * pitch_ratio * fallen_s
    sound = np.sin(angle)
    for ratio in drum.partials:
        if ratio * drum.frequency_hz < SYNTH_SAMPLE_RATE / 2.5:
            sound += 0.5 * brightness * np.sin(ratio * angle + rng.uniform(0, 2 * np.pi))
    sound *= decay(time_s, drum.tone_s)
    noise_s = drum.noise_s * (0.6 + 0.4 * brightness)
    noise = _band_noise(len(time_s), drum.band_hz, rng) * decay(time_s, noise_s)
    bursts = np.zeros_like(noise)
    for burst in range(drum.bursts):
        delay = int(burst * rng.uniform(0.007, 0.013) * SYNTH_SAMPLE_RATE)
        bursts[delay:] += noise[: len(noise) - delay]
    sound += drum.noise * brightness * bursts
    # One millisecond in, ten out, so that nothing clicks.
    sound *= np.minimum(1.0, time_s / 0.001) * np.minimum(1.0, (length_s - time_s) / 0.01)
    return np.asarray(sound * (drum.level / np.abs(sound).max()))


def _band_noise(n_samples: int, band_hz: tuple[float, float], rng: np.random.Generator) -> Sound:
    """Noise of about unit power between two frequencies, 12 dB per octave down beside them."""
    frequencies = np.fft.rfftfreq(n_samples, 1 / SYNTH_SAMPLE_RATE)[1:]
    low, high = band_hz
    shape = 1 / np.sqrt((1 + (low / frequencies) ** 4) * (1 + (frequencies / high) ** 4))
    spectrum = np.zeros(n_samples // 2 + 1, dtype=np.complex128)
    phases = rng.uniform(0, 2 * np.pi, len(frequencies))
    spectrum[1:] = shape * np.exp(1j * phases)
    noise = np.fft.irfft(spectrum, n_samples)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)), dtype=np.float64)
