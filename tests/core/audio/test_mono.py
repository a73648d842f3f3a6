"""The signal that is analysed, read in blocks or at once."""

import numpy as np
import pytest
import torch

from lqsep.core.audio import mono as mono_input
from lqsep.core.audio.mixtures import ArrayReader
from lqsep.core.audio.mono import is_mid_silent, read_mono, to_mono


class Recording(ArrayReader):
    """Notes what is read."""

    def __init__(self, wave, rate):
        super().__init__(wave, rate)
        self.spans = []

    def read(self, start, stop):
        self.spans.append((start, stop))
        return super().read(start, stop)


def noise(n_samples, channels=2, seed=0):
    return np.random.default_rng(seed).normal(size=(channels, n_samples)).astype(np.float32) * 0.1


@pytest.mark.parametrize("rates", [(8000, 8000), (8000, 4000), (11025, 8000), (4410, 4800)])
@pytest.mark.parametrize("stretch", [(0, 9000), (123, 8500), (5, 6)])
def test_blocks_give_what_all_at_once_gives(rates, stretch, monkeypatch):
    monkeypatch.setattr(mono_input, "_BLOCK_S", 0.2)
    wave = noise(9000)
    start, stop = stretch
    reader = Recording(wave, rates[0])
    found = read_mono(reader, start, stop, rates[1])
    expected = to_mono(torch.from_numpy(wave[:, start:stop]), *rates)
    assert found.shape == expected.shape
    # Sums of some hundred float32 products, in another order.
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)
    assert max(b - a for a, b in reader.spans) < 5000
    assert min(a for a, _ in reader.spans) >= start and max(b for _, b in reader.spans) <= stop


def test_cancelling_channels_are_told_by_block(monkeypatch):
    monkeypatch.setattr(mono_input, "_BLOCK_S", 0.1)
    wave = noise(2800)
    wave[1, 800:2000] = -wave[0, 800:2000]
    told = []
    found = read_mono(ArrayReader(wave, 8000), 0, 2800, 8000, on_cancelled=told.append)
    # From 2000 on the block is half and half, and counts as one that does not cancel.
    assert told == [800]
    assert np.array_equal(found[0, 800:1600].numpy(), wave[0, 800:1600])
    assert np.allclose(found[0, :800].numpy(), wave[:, :800].mean(0), atol=1e-7)
    assert not is_mid_silent(torch.from_numpy(wave[:1]))
