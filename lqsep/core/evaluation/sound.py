"""An item's true stems and its mixture, read from the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.resampled import ResampledReader
from lqsep.core.corpus.stem_reader import StemReader
from lqsep.core.interfaces.dataset import Dataset

CHUNK_RATE = 22_050
"""Sample rate of chunks, in Hz."""

CHUNK_SAMPLES = 65_536
"""Length of a chunk."""


@dataclass(frozen=True)
class ItemSound:
    """One item as sound.

    Args:
        sources: The data set's stems as they are.
        gains: Of each in the mixture.
        sample_rate: Hz.
    """

    sources: Float[Tensor, "sources channels samples"]
    gains: tuple[float, ...]
    sample_rate: int

    @property
    def stems(self) -> Float[Tensor, "sources channels samples"]:
        """The sources as they stand in the mixture."""
        return at_gain(self.sources, self.gains)

    @property
    def mixture(self) -> Float[Tensor, "channels samples"]:
        return self.stems.sum(0)


def at_gain(
    waves: Float[Tensor, "sources channels samples"], gains: Sequence[float]
) -> Float[Tensor, "sources channels samples"]:
    """Every source times its gain."""
    return waves * torch.tensor(gains, dtype=waves.dtype, device=waves.device)[:, None, None]


def n_chunks(n_samples: int, sample_rate: int) -> int:
    """Whole chunks in a track."""
    return n_samples * CHUNK_RATE // (sample_rate * CHUNK_SAMPLES)


def read_chunk(
    dataset: Dataset, index: int, source: str, number: int
) -> Float[Tensor, "channels samples"]:
    """Channel 0 of one chunk of a stem, as if the whole stem had been resampled.

    Args:
        dataset: Tracks with their stems.
        index: Of the track.
        source: Name of the stem.
        number: Chunks are counted from the start of the track.
    """
    stem = StemReader(dataset, index, source, "first")
    chunk = ResampledReader(stem, CHUNK_RATE).read(
        number * CHUNK_SAMPLES, (number + 1) * CHUNK_SAMPLES
    )
    return torch.from_numpy(chunk)


def chunk_sound(
    dataset: Dataset, index: int, number: int, sources: Sequence[str], gains: Sequence[float]
) -> ItemSound:
    """One chunk of every source."""
    waves = [read_chunk(dataset, index, source, number) for source in sources]
    return ItemSound(torch.stack(waves), tuple(gains), CHUNK_RATE)


def track_sound(
    dataset: Dataset,
    index: int,
    sources: Sequence[str],
    gains: Sequence[float],
    stop: int | None = None,
) -> ItemSound:
    """A whole track at its own rate, or its samples up to ``stop``."""
    tracks = [dataset.stem(index, source, 0, stop) for source in sources]
    waves = [torch.from_numpy(t.stems[s].copy()) for t, s in zip(tracks, sources, strict=True)]
    return ItemSound(torch.stack(waves), tuple(gains), tracks[0].sample_rate)
