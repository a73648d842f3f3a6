"""Stems in memory for training."""

import math

import numpy as np
import pytest
import torch

from lqsep.core.audio_pool import AudioPool, stem_level
from lqsep.core.errors import AudioError
from lqsep.core.interfaces.dataset import Dataset, Track


class Stems(Dataset):
    def __init__(self, *waves: np.ndarray, sample_rate: int = 1000) -> None:
        self.sources = ("noise",)
        self.waves, self.sample_rate = waves, sample_rate

    def __len__(self) -> int:
        return len(self.waves)

    def __getitem__(self, index: int) -> Track:
        wave = self.waves[index].astype(np.float32)
        return Track(str(index), self.sample_rate, None, {"noise": wave})


def noise(n_samples: int, channels: int = 1, scale: float = 0.3) -> np.ndarray:
    return np.random.default_rng(n_samples).normal(size=(channels, n_samples)) * scale


def test_mixes_down_resamples_and_levels() -> None:
    pool = AudioPool(Stems(noise(2000, channels=2)), ["noise"], 500, level=0.1)
    (wave,) = pool.waves[0]
    assert wave.shape == (1000,)
    # Float32 sums over a thousand samples.
    assert float(wave.square().mean().sqrt()) == pytest.approx(0.1, rel=1e-5)


def test_without_a_level_nothing_is_scaled() -> None:
    wave = noise(2000)
    pool = AudioPool(Stems(wave), ["noise"], 1000)
    assert torch.equal(pool.waves[0][0], torch.from_numpy(wave[0].astype(np.float32)))


def test_channels_are_averaged() -> None:
    wave = noise(200, channels=2).astype(np.float32)
    pool = AudioPool(Stems(wave), ["noise"], 1000)
    # A float32 mean of two.
    assert torch.allclose(pool.waves[0][0], torch.from_numpy(wave.mean(0)), atol=1e-7)


def test_silence_stays_silence() -> None:
    pool = AudioPool(Stems(noise(2000), noise(2000, scale=1e-6)), ["noise"], 1000, level=0.1)
    assert float(pool.waves[0][1].abs().max()) < 1e-5


def test_clips_come_from_everywhere() -> None:
    ramp = np.arange(40.0)[None]
    pool = AudioPool(Stems(ramp, ramp + 100), ["noise"], 1000)
    generator = torch.Generator().manual_seed(0)
    starts = set()
    for _ in range(2000):
        clip = pool.clip(0, 30, generator)
        assert torch.equal(clip.diff(), torch.ones(29))
        starts.add(int(clip[0]))
    assert starts == {*range(11), *range(100, 111)}


def test_a_short_track_is_padded() -> None:
    pool = AudioPool(Stems(np.ones((1, 5))), ["noise"], 1000)
    clip = pool.clip(0, 8, torch.Generator())
    assert clip.tolist() == [1.0] * 5 + [0.0] * 3


def test_no_audio_is_an_error() -> None:
    with pytest.raises(AudioError, match="no audio found for noise in 0 tracks"):
        AudioPool(Stems(), ["noise"], 1000)


def test_stem_level_gives_the_mixture_its_level() -> None:
    generator = torch.Generator().manual_seed(0)
    gains = (0.5, 0.8)
    level = stem_level(0.2, gains)
    assert level is not None
    stems = [torch.randn(100_000, generator=generator) * level for _ in gains]
    mixture = gains[0] * stems[0] + gains[1] * stems[1]
    # Independent noise of 1e5 samples: one per cent is three standard deviations.
    assert math.isclose(float(mixture.std()), 0.2, rel_tol=0.01)
    assert stem_level(None, gains) is None
