"""Sounds computed from random numbers, which no SoundFont has: what drums and basses share.

A SoundFont has a few dozen sounds, and a model trained on them knows those. Here every stem has an
instrument of its own, drawn from ranges that hold acoustic drums, drum machines, strings and
synthesisers. None of it sounds quite like the real thing; all of it together surrounds it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lqsep.plugins.rendering.compose import Note

Sound = npt.NDArray[np.float64]

# A sound that is ended fades out in this time.
_FADE_S = 0.005


def draw_between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two, as likely in each octave."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def decay(time_s: Sound, length_s: float) -> Sound:
    """60 dB down after ``length_s`` seconds."""
    return np.asarray(10 ** (-3 * time_s / length_s))


def add_sound(
    wave: Sound, sound: Sound, note: Note, sample_rate: int, end_s: float = np.inf
) -> None:
    """Add the sound of a note at its place; something else ends it after ``end_s`` seconds."""
    start = round(note.start_s * sample_rate)
    length = max(0, min(len(sound), len(wave) - start))
    if end_s < length / sample_rate:
        n_fade = round(_FADE_S * sample_rate)
        length = min(length, round(end_s * sample_rate) + n_fade)
        sound = sound[:length] * np.minimum(1.0, np.arange(length, 0, -1) / n_fade)
    wave[start : start + length] += sound[:length]
