"""Sounds out of nothing, for tests and first steps: tones below, clicks above."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from lqsep.core.errors import ConfigError
from lqsep.core.interfaces.dataset import Dataset, Track, TrackInfo

Wave = npt.NDArray[np.float64]

# Beats per minute, lowest and highest.
_TEMPO = (90, 150)

# MIDI numbers of the lowest and highest note: E1 (41 Hz) to E3 (165 Hz), a bass guitar's range.
_NOTES = (28, 52)

_PEAK = 0.5


class SyntheticDataset(Dataset):
    """Tones and clicks in a common tempo, the same for the same seed on every machine.

    Args:
        sources: Among ``SOUNDS``, in order.
        n_tracks: Number of tracks.
        duration_s: Of each.
        sample_rate: Hz.
        channels: 2 places every source somewhere between left and right.
        seed: Another seed gives other tracks.

    Raises:
        ConfigError: A source that is not among ``SOUNDS``.
    """

    def __init__(
        self,
        *,
        sources: Sequence[str] = ("drums", "bass"),
        n_tracks: int = 8,
        duration_s: float = 4.0,
        sample_rate: int = 22_050,
        channels: int = 1,
        seed: int = 0,
    ) -> None:
        unknown = [source for source in sources if source not in SOUNDS]
        if unknown:
            raise ConfigError(
                f"synthetic data set: no source {', '.join(unknown)}; "
                f"expected among {', '.join(SOUNDS)}."
            )
        self.sources = tuple(sources)
        self._n_tracks = n_tracks
        self._n_samples = max(1, round(duration_s * sample_rate))
        self._sample_rate = sample_rate
        self._channels = channels
        self._seed = seed

    def __len__(self) -> int:
        return self._n_tracks

    def __getitem__(self, index: int) -> Track:
        info = self.info(index)
        stems = {source: self._make(index, source) for source in self.sources}
        return Track(info.name, info.sample_rate, None, stems)

    def info(self, index: int) -> TrackInfo:
        """Known without making the sound."""
        if not 0 <= index < self._n_tracks:
            raise IndexError(f"track {index} of {self._n_tracks}")
        return TrackInfo(f"synthetic-{index:04d}", self._sample_rate, self._n_samples)

    def stem(self, index: int, source: str, start: int = 0, stop: int | None = None) -> Track:
        """Makes this source only."""
        info = self.info(index)
        wave = self._make(index, source)[:, start:stop]
        return Track(info.name, info.sample_rate, None, {source: wave})

    def _make(self, index: int, source: str) -> npt.NDArray[np.float32]:
        tempo = np.random.default_rng([self._seed, index]).uniform(*_TEMPO)
        rng = np.random.default_rng([self._seed, index, list(SOUNDS).index(source)])
        wave = SOUNDS[source](rng, self._n_samples, self._sample_rate, 60 / tempo)
        wave *= _PEAK / max(np.abs(wave).max(), 1e-9)
        if self._channels == 1:
            return wave[None].astype(np.float32)
        angle = rng.uniform(0.2, 0.8) * np.pi / 2
        sides = np.array([[np.cos(angle)], [np.sin(angle)]], np.float32)
        return sides * wave.astype(np.float32)


def tones(rng: np.random.Generator, n_samples: int, sample_rate: int, beat_s: float) -> Wave:
    """One low note per beat, with six falling harmonics and a soft attack."""
    wave = np.zeros(n_samples)
    note = int(rng.integers(*_NOTES, endpoint=True))
    for start in _beats(n_samples, sample_rate, beat_s):
        note = int(np.clip(note + rng.integers(-5, 5, endpoint=True), *_NOTES))
        hz = 440 * 2 ** ((note - 69) / 12)
        length = min(n_samples - start, round(beat_s * sample_rate))
        time = np.arange(length) / sample_rate
        harmonics = np.arange(1, 7)
        harmonics = harmonics[harmonics * hz < sample_rate / 2]
        sound = (np.sin(2 * np.pi * hz * np.outer(harmonics, time)) / harmonics[:, None] ** 2).sum(
            0
        )
        attack = np.minimum(1, time / 0.01)
        release = np.minimum(1, (beat_s - time).clip(0) / 0.01)
        wave[start : start + length] += sound * attack * release * np.exp(-2 * time)
    return wave


def clicks(rng: np.random.Generator, n_samples: int, sample_rate: int, beat_s: float) -> Wave:
    """A thump on the beats, bursts of bright noise between them."""
    wave = np.zeros(n_samples)
    for number, start in enumerate(_beats(n_samples, sample_rate, beat_s / 2)):
        length = min(n_samples - start, round(0.25 * sample_rate))
        time = np.arange(length) / sample_rate
        if number % 2 == 0:
            sweep = np.sin(2 * np.pi * (60 * time - 4 * np.exp(-time / 0.02)))
            wave[start : start + length] += sweep * np.exp(-time / 0.05)
        elif rng.random() < 0.8:
            noise = np.diff(rng.standard_normal(length + 1))
            wave[start : start + length] += 0.4 * noise * np.exp(-time / 0.02)
    return wave


def _beats(n_samples: int, sample_rate: int, beat_s: float) -> list[int]:
    return [round(time * sample_rate) for time in np.arange(0, n_samples / sample_rate, beat_s)]


SOUNDS: dict[str, Callable[[np.random.Generator, int, int, float], Wave]] = {
    "drums": clicks,
    "clicks": clicks,
    "bass": tones,
    "tones": tones,
}
"""How each source is made."""
