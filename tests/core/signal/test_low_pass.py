"""The slow part of a recording: stretches, tones, constants, ends."""

import numpy as np
import pytest

from lqsep.core.signal import low_pass as module
from lqsep.core.signal.low_pass import low_pass, reach


def noise(n_samples, channels=2):
    return np.random.default_rng(0).normal(size=(channels, n_samples)).astype(np.float32) * 0.1


def tone(hz, rate, seconds=2.0):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)[None]


def whole(wave, rate, cutoff_hz=20.0):
    return low_pass(wave, rate, cutoff_hz, 0, wave.shape[-1])


def test_stretches_are_what_the_whole_gives(monkeypatch):
    rate, n_samples = 8000, 30_000
    wave = noise(n_samples) + np.float32(0.3)
    expected = whole(wave, rate)
    margin = reach(rate, 20.0)
    assert margin == 2000
    for block in (1 << 18, 1000):
        monkeypatch.setattr(module, "_BLOCK", block)
        for start, stop in (
            (0, 5),
            (0, n_samples),
            (7, 12_345),
            (12_345, 30_000),
            (29_999, 30_000),
        ):
            first, last = max(0, start - margin), min(n_samples, stop + margin)
            found = low_pass(wave[:, first:last], rate, 20.0, first, n_samples)
            # Sums in float64, in another order.
            np.testing.assert_allclose(
                found[:, start - first : stop - first], expected[:, start:stop], atol=1e-7, rtol=0
            )


@pytest.mark.parametrize("rate", [1000, 8000, 44_100, 192_000])
def test_what_is_below_passes_and_what_is_above_does_not(rate):
    # But for the ends, where a tone is cut off.
    inner = slice(rate // 4, -rate // 4)
    for hz in (2.0, 8.0, 15.5):
        wave = tone(hz, rate)
        assert np.abs(whole(wave, rate) - wave)[:, inner].max() < 1e-3
    for hz in (24.5, 30.9, 100.0):
        assert np.abs(whole(tone(hz, rate), rate))[:, inner].max() < 1e-3


@pytest.mark.parametrize("n_samples", [1, 2, 100, 5000, 100_000])
def test_a_constant_is_one_to_its_ends(n_samples):
    wave = np.full((2, n_samples), 0.01, np.float32) * np.float32([[1], [-2]])
    assert np.array_equal(whole(wave, 44_100), wave)


def test_silence_stays_silence():
    wave = noise(100_000)
    wave[:, 40_000:60_000] = 0
    # 0.25 s from what is loud on.
    assert not whole(wave, 8000)[:, 42_001:57_999].any()
