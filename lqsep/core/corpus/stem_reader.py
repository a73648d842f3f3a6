"""One stem of a data set's track as a recording that is read in stretches."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from lqsep.core.interfaces.dataset import Dataset


class StemReader:
    """One channel of a stem; a `lqsep.core.audio.mixtures.MixtureReader`.

    Args:
        dataset: Tracks with their stems.
        index: Of the track.
        source: Name of the stem.
        channel: ``mean`` of the channels, or the ``first`` one.
    """

    channels = 1

    def __init__(
        self, dataset: Dataset, index: int, source: str, channel: Literal["mean", "first"]
    ) -> None:
        self._dataset, self._index, self._source = dataset, index, source
        self._takes_mean = channel == "mean"
        info = dataset.info(index)
        self.name = info.name
        self.sample_rate = info.sample_rate
        self.n_samples = info.n_samples

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        track = self._dataset.stem(self._index, self._source, start, stop)
        wave = track.stems[self._source]
        mono: npt.NDArray[np.float32] = wave.mean(0, keepdims=True)
        return mono if self._takes_mean else wave[:1].copy()
