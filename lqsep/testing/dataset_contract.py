"""What every data set must fulfil."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from lqsep.core.interfaces.dataset import Dataset
from lqsep.testing.comparing import assert_raises


class DatasetContract:
    """A data set: tracks of the announced sources, lengths, and reading a part of one stem."""

    @abstractmethod
    def make(self) -> Dataset:
        """The data set to check; with at least one track."""

    def test_tracks(self) -> None:
        dataset = self.make()
        assert len(dataset) >= 1 and len(dataset.sources) == len(set(dataset.sources)) >= 1
        for index in range(len(dataset)):
            track = dataset[index]
            assert track.name and track.sample_rate >= 1
            assert set(track.stems) <= set(dataset.sources)
            shapes = {stem.shape for stem in track.stems.values()}
            waves = [*track.stems.values()]
            if track.mixture is not None:
                shapes.add(track.mixture.shape)
                waves.append(track.mixture)
            assert len(shapes) == 1
            for wave in waves:
                assert wave.dtype == np.float32 and wave.ndim == 2
                assert wave.shape[1] >= 1 and np.isfinite(wave).all()

    def test_reading_twice_gives_the_same(self) -> None:
        dataset = self.make()
        first, second = dataset[0], dataset[0]
        assert first.name == second.name
        for source, stem in first.stems.items():
            assert np.array_equal(stem, second.stems[source])

    def test_info_equals_the_track(self) -> None:
        dataset = self.make()
        for index in range(len(dataset)):
            info, track = dataset.info(index), dataset[index]
            stem = next(iter(track.stems.values()))
            assert (info.name, info.sample_rate) == (track.name, track.sample_rate)
            assert dataset.name(index) == track.name
            assert info.n_samples == stem.shape[-1]

    def test_part_of_a_stem(self) -> None:
        dataset = self.make()
        for source, stem in dataset[0].stems.items():
            length = stem.shape[-1]
            start, stop = length // 4, length // 2
            part = dataset.stem(0, source, start, stop)
            assert list(part.stems) == [source]
            assert np.array_equal(part.stems[source], stem[:, start:stop])
            assert np.array_equal(dataset.stem(0, source).stems[source], stem)

    def test_no_track_after_the_last(self) -> None:
        dataset = self.make()
        assert_raises(IndexError, lambda: dataset[len(dataset)])
