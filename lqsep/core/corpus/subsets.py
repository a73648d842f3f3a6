"""Some tracks of a data set, or none at all."""

from __future__ import annotations

from collections.abc import Sequence

from lqsep.core.errors import AudioError
from lqsep.core.interfaces.dataset import Dataset, Track, TrackInfo


class SomeTracks(Dataset):
    """A data set of some tracks of another one.

    Args:
        dataset: The other one.
        chosen: Their positions in it.
    """

    def __init__(self, dataset: Dataset, chosen: Sequence[int]) -> None:
        self.sources = dataset.sources
        self._dataset, self._chosen = dataset, tuple(chosen)

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> Track:
        return self._dataset[self._chosen[index]]

    def name(self, index: int) -> str:
        return self._dataset.name(self._chosen[index])

    def info(self, index: int) -> TrackInfo:
        return self._dataset.info(self._chosen[index])

    def stem(self, index: int, source: str, start: int = 0, stop: int | None = None) -> Track:
        return self._dataset.stem(self._chosen[index], source, start, stop)


class NoTracks(Dataset):
    """What trainers that need no data are given."""

    def __init__(self) -> None:
        self.sources = ()

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Track:
        raise IndexError(f"no track {index} of none")


def durations(dataset: Dataset) -> list[float]:
    """Seconds of every track; 0 for one that cannot be read."""
    found = []
    for index in range(len(dataset)):
        try:
            info = dataset.info(index)
        except AudioError:
            found.append(0.0)
        else:
            found.append(info.n_samples / info.sample_rate)
    return found


def longest_tracks(dataset: Dataset, count: int) -> SomeTracks:
    """The ``count`` longest tracks, or all if there are fewer."""
    seconds = durations(dataset)
    order = sorted(range(len(seconds)), key=lambda index: -seconds[index])
    return SomeTracks(dataset, order[:count])
