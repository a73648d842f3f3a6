"""Stems in memory for training."""

import math

import numpy as np
import pytest
import torch

from lqsep.core.corpus.audio_pool import AudioPool, Reading, stem_level
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


def test_channels_are_blended_at_random() -> None:
    stereo = np.stack([np.ones(100), np.zeros(100)])
    pool = AudioPool(Stems(stereo), ["noise"], 1000, blend=True)
    generator = torch.Generator().manual_seed(0)
    clips = torch.stack([pool.clip(0, 10, generator) for _ in range(500)])
    assert torch.equal(clips, clips[:, :1].expand(-1, 10))
    # Even from 0 (right alone) to 1 (left alone): the mean's deviation is 0.013.
    weights = clips[:, 0]
    assert weights.min() < 0.02 and weights.max() > 0.98
    assert float(weights.mean()) == pytest.approx(0.5, abs=0.05)
    mono = AudioPool(Stems(np.ones((1, 100))), ["noise"], 1000, blend=True)
    assert torch.equal(mono.clip(0, 10, generator), torch.ones(10))


def test_blended_clips_are_at_the_level_of_the_average() -> None:
    wave = noise(2000, channels=2)
    loud, quiet = (
        AudioPool(Stems(wave * scale), ["noise"], 1000, level=0.1, blend=True)
        for scale in (1.0, 0.1)
    )
    clips = [pool.clip(0, 50, torch.Generator().manual_seed(3)) for pool in (loud, quiet)]
    assert torch.allclose(*clips, atol=1e-6)  # float32


class Faulty(Stems):
    """Ten tracks; some cannot be read, one holds samples that are no numbers."""

    def __init__(self, *faulty: int, spoilt: int = -1) -> None:
        super().__init__(*(noise(2000) for _ in range(10)))
        self.faulty, self.spoilt = faulty, spoilt

    def __getitem__(self, index: int) -> Track:
        if index in self.faulty:
            raise AudioError(f"cannot read track-{index}.wav: it is damaged.")
        track = super().__getitem__(index)
        if index == self.spoilt:
            track.stems["noise"][0, 7] = np.nan
        return track


def test_unreadable_tracks_are_left_out_counted_and_named() -> None:
    notes: list[str] = []
    reading = Reading(max_unreadable=0.3, report=lambda event: notes.append(event.text))
    pool = AudioPool(Faulty(2, 5, spoilt=7), ["noise"], 1000, reading=reading)
    assert len(pool.waves[0]) == 7
    assert [note.partition(":")[0] for note in notes] == [
        f"left out, unreadable ({count})" for count in (1, 2, 3)
    ]
    assert "track-2.wav" in notes[0] and "track-5.wav" in notes[1] and "no numbers" in notes[2]


def test_too_many_unreadable_tracks_are_an_error() -> None:
    with pytest.raises(AudioError, match=r"3 tracks .*at most 0\.2 of 10.*track-8\.wav"):
        AudioPool(Faulty(2, 5, 8), ["noise"], 1000, reading=Reading(max_unreadable=0.2))
    with pytest.raises(AudioError, match=r"^cannot read track-2\.wav"):
        AudioPool(Faulty(2), ["noise"], 1000)


def test_short_tracks_are_left_out() -> None:
    notes: list[str] = []
    reading = Reading(min_duration=1.0, report=lambda event: notes.append(event.text))
    waves = (noise(2000), noise(999), noise(0), noise(1000))
    pool = AudioPool(Stems(*waves), ["noise"], 1000, reading=reading)
    assert [len(wave) for wave in pool.waves[0]] == [2000, 1000]
    assert len(notes) == 2 and "too short: 1 lasts 0.999 s" in notes[0]
    with pytest.raises(AudioError, match="no audio of 3 s and more found for noise in 4 tracks"):
        AudioPool(Stems(*waves), ["noise"], 1000, reading=Reading(min_duration=3.0))


def test_lower_rates_than_the_codecs() -> None:
    with pytest.raises(AudioError, match=r"works at 2000 Hz.*lower rate \(up to 1000 Hz\)"):
        AudioPool(Stems(noise(2000)), ["noise"], 2000)

    class Mixed(Stems):
        def __getitem__(self, index: int) -> Track:
            self.sample_rate = (1000, 4000)[index]
            return super().__getitem__(index)

    notes: list[str] = []
    reading = Reading(report=lambda event: notes.append(event.text))
    pool = AudioPool(Mixed(noise(2000), noise(2000)), ["noise"], 2000, reading=reading)
    assert [len(wave) for wave in pool.waves[0]] == [4000, 1000]
    assert len(notes) == 1 and "1 of 2 tracks" in notes[0] and "down to 1000 Hz" in notes[0]
