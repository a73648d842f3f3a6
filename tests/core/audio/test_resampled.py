"""Stretches at another rate are those of the whole recording."""

import numpy as np
import pytest
import torch

from lqsep.core.audio.mixtures import ArrayReader
from lqsep.core.audio.resampled import ResampledReader
from lqsep.core.audio.resampling import resample

RATES = [
    (44_100, 22_050),
    (22_050, 44_100),
    (44_100, 48_000),
    (48_000, 22_050),
    (8_000, 7_999),
    (16_000, 16_000),
]


class Recording(ArrayReader):
    """Notes how much is read."""

    def __init__(self, wave, rate):
        super().__init__(wave, rate)
        self.read_at_once = []

    def read(self, start, stop):
        assert 0 <= start < stop <= self.n_samples
        self.read_at_once.append(stop - start)
        return super().read(start, stop)


def noise(n_samples):
    generator = np.random.default_rng(0)
    return 0.1 * generator.standard_normal((2, n_samples)).astype(np.float32)


@pytest.mark.parametrize(("old", "new"), RATES)
def test_stretches_are_those_of_the_whole_resampled_recording(old, new):
    wave = noise(3 * old // 2)
    whole = resample(torch.from_numpy(wave), old, new).numpy()
    reader = ResampledReader(ArrayReader(wave, old), new)
    assert (reader.n_samples, reader.channels, reader.sample_rate) == (whole.shape[1], 2, new)
    places = [0, 1, 1000, 1001, new // 2, reader.n_samples - 1, reader.n_samples]
    for start, stop in zip(places[:-1], places[1:], strict=True):
        found = reader.read(start, stop)
        assert found.shape == (2, stop - start)
        # float32 sums of some hundred products, in another order
        assert np.abs(found - whole[:, start:stop]).max() < 2e-6


@pytest.mark.parametrize(("old", "new"), RATES)
@pytest.mark.parametrize("n_samples", [1, 999, 20_000, 24_003])
def test_blocks_are_the_whole_recording(old, new, n_samples):
    wave = noise(n_samples)
    recording = Recording(wave, old)
    blocks = list(ResampledReader(recording, new).blocks(5000))
    whole = resample(torch.from_numpy(wave), old, new).numpy()
    joined = np.concatenate(blocks, axis=1)
    assert joined.shape == whole.shape
    assert np.abs(joined - whole).max() < 2e-6
    if n_samples > 20_000 and new != 7_999:  # these rates meet once in a second
        assert len(blocks) >= 4 and max(recording.read_at_once) < 8000
