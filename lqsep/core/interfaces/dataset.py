"""A dataset gives tracks with their true stems, for training and evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Track:
    """One track; all waves float32, ``channels samples``, equally long.

    ``mixture`` is None where the data set has sources only: the mixture is then formed by gains.
    """

    name: str
    sample_rate: int
    mixture: npt.NDArray[np.float32] | None
    stems: Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class TrackInfo:
    """What is known of a track without reading its samples."""

    name: str
    sample_rate: int
    n_samples: int


class Dataset(ABC):
    """A finite, ordered collection of tracks."""

    sources: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Track:
        """The track at ``index``.

        Raises:
            IndexError: There is no such track.
            AudioError: A file cannot be read.
        """

    def name(self, index: int) -> str:
        """The track's name; override where it is known though its files cannot be read."""
        return self.info(index).name

    def info(self, index: int) -> TrackInfo:
        """Name, rate and length; override where they can be had without reading the samples."""
        track = self[index]
        first = next(iter(track.stems.values()))
        return TrackInfo(track.name, track.sample_rate, int(first.shape[-1]))

    def stem(self, index: int, source: str, start: int = 0, stop: int | None = None) -> Track:
        """The track with one stem only, samples ``start`` to ``stop`` of it."""
        track = self[index]
        stem = track.stems[source][:, start:stop]
        return Track(track.name, track.sample_rate, None, {source: stem})
