import re

import numpy as np
import pytest
import torch

from lqsep.core.audio.resampling import resample
from lqsep.core.errors import AudioError, ConfigError
from lqsep.core.evaluation.items import load_item, plan_items
from lqsep.core.evaluation.protocols import LQVAE2021, MUSEVAL_V4, PROTOCOLS, SI_SDR, find_protocol
from lqsep.core.evaluation.sound import CHUNK_RATE, CHUNK_SAMPLES, n_chunks, read_chunk
from lqsep.core.interfaces.dataset import Dataset, Track

SOURCES = ("drums", "bass")
GAINS = (0.3, 0.7)


class Arrays(Dataset):
    """Tracks held in memory: by name, ``sources channels samples``."""

    sources = SOURCES

    def __init__(self, waves, sample_rate=CHUNK_RATE):
        self._tracks = [
            Track(
                name, sample_rate, None, dict(zip(SOURCES, stems.astype(np.float32), strict=True))
            )
            for name, stems in waves.items()
        ]

    def __len__(self):
        return len(self._tracks)

    def __getitem__(self, index):
        return self._tracks[index]


def noise(chunks, channels=1, rate=CHUNK_RATE, seed=0):
    n_samples = round(chunks * CHUNK_SAMPLES * rate / CHUNK_RATE)
    return 0.1 * np.random.default_rng(seed).standard_normal((2, channels, n_samples))


def numbers(items):
    return [round(item.start_s * CHUNK_RATE / CHUNK_SAMPLES) for item in items]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_a_chunk_is_a_stretch_of_the_resampled_stem(rate):
    dataset = Arrays({"a": noise(3.2, 2, rate)}, rate)
    info = dataset.info(0)
    assert n_chunks(info.n_samples, rate) == 3
    whole = resample(torch.from_numpy(dataset[0].stems["bass"][:1]), rate, CHUNK_RATE)
    for number in range(3):
        chunk = read_chunk(dataset, 0, "bass", number)
        wanted = whole[:, number * CHUNK_SAMPLES : (number + 1) * CHUNK_SAMPLES]
        assert chunk.shape == (1, CHUNK_SAMPLES)
        # single precision, other orders of summation
        assert (chunk - wanted).abs().max() < 1e-6


def test_chunks_without_silence():
    stems = noise(6.9)
    stems[0, :, : 2 * CHUNK_SAMPLES] = 0
    # 1.5e-5 * sqrt(65,536) is an RMS of 3.84e-3: just below and just above
    for number, rms in ((3, 3.8e-3), (4, 3.9e-3)):
        part = stems[1, :, number * CHUNK_SAMPLES : (number + 1) * CHUNK_SAMPLES]
        part *= rms / np.sqrt((part**2).mean())
    dataset = Arrays({"a": stems})
    found = {
        n
        for seed in range(5)
        for n in numbers(plan_items(dataset, LQVAE2021, sources=SOURCES, seed=seed))
    }
    assert found == {2, 4, 5}
    items = plan_items(dataset, LQVAE2021, sources=SOURCES)
    assert [item.duration_s for item in items] == [CHUNK_SAMPLES / CHUNK_RATE] * 3


def test_three_seeded_chunks_of_each_track_whatever_the_others():
    waves = {name: noise(8, seed=n) for n, name in enumerate(("a", "b", "c"))}
    items = plan_items(Arrays(waves), LQVAE2021, sources=SOURCES)
    assert [item.track for item in items] == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert items == plan_items(Arrays(waves), LQVAE2021, sources=SOURCES)
    fewer = plan_items(Arrays({"b": waves["b"]}), LQVAE2021, sources=SOURCES)
    assert [item.item for item in fewer] == [item.item for item in items[3:6]]
    others = [
        numbers(plan_items(Arrays(waves), LQVAE2021, sources=SOURCES, seed=s)) for s in (0, 1)
    ]
    assert others[0] != others[1] and numbers(items[:3]) != numbers(items[3:6])
    assert plan_items(Arrays(waves), LQVAE2021, sources=SOURCES, n_tracks=1) == items[:3]


def test_identifiers_can_name_files():
    names = ["Plain-1", "AC/DC - Thunder: \u00e9lan", "AC/DC - Thunder: elan", "..", "plain-1"]
    dataset = Arrays({name: noise(0.1) for name in names})
    items = [item.item for item in plan_items(dataset, MUSEVAL_V4, sources=SOURCES)]
    assert items[0] == "Plain-1" and items[4] == "plain-1_2"
    assert len({item.lower() for item in items}) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}", item) for item in items)


def test_sound_of_an_item():
    dataset = Arrays({"a": noise(4, 2)})
    item = plan_items(dataset, LQVAE2021, sources=SOURCES)[1]
    sound = load_item(dataset, item, LQVAE2021, sources=SOURCES, gains=GAINS)
    start = round(item.start_s * CHUNK_RATE)
    stems = [dataset[0].stems[s][:1, start : start + CHUNK_SAMPLES] for s in SOURCES]
    assert torch.equal(sound.sources, torch.from_numpy(np.stack(stems)))
    assert np.allclose(sound.mixture, 0.3 * stems[0] + 0.7 * stems[1], atol=1e-7)
    whole = load_item(dataset, item, MUSEVAL_V4, sources=SOURCES, gains=GAINS)
    assert whole.sources.shape == (2, 2, 4 * CHUNK_SAMPLES)


class Damaged(Arrays):
    """Track ``b`` cannot be read."""

    named = True

    def name(self, index):
        return self._tracks[index].name if self.named else super().name(index)

    def info(self, index):
        if self._tracks[index].name == "b":
            raise AudioError("cannot read b")
        return super().info(index)


@pytest.mark.parametrize("protocol", [LQVAE2021, SI_SDR])
def test_a_track_that_cannot_be_read_fails_alone(protocol):
    dataset = Damaged({name: noise(1.1) for name in ("a", "b", "c")})
    failures = []
    items = plan_items(
        dataset, protocol, sources=SOURCES, on_failure=lambda *failure: failures.append(failure)
    )
    assert [item.track for item in items] == ["a", "c"]
    dataset.named = False
    plan_items(
        dataset, protocol, sources=SOURCES, on_failure=lambda *failure: failures.append(failure)
    )
    assert failures == [("b", "cannot read b"), ("track 2", "cannot read b")]
    with pytest.raises(AudioError, match="cannot read b"):
        plan_items(dataset, protocol, sources=SOURCES)


def test_mistakes():
    dataset = Arrays({"a": noise(0.5)})
    with pytest.raises(ConfigError, match="no piano; it has drums, bass"):
        plan_items(dataset, MUSEVAL_V4, sources=("drums", "piano"))
    with pytest.raises(AudioError, match="nothing to score in 1 tracks"):
        plan_items(dataset, LQVAE2021, sources=SOURCES)
    with pytest.raises(ConfigError, match="did you mean 'si-sdr'"):
        find_protocol("si-sdri")
    assert [find_protocol(name).name for name in PROTOCOLS] == list(PROTOCOLS)


def test_a_seed_is_a_whole_number():
    for seed in (-1, 1.5):
        with pytest.raises(ConfigError, match="seed: expected a whole number, 0 or more, got"):
            plan_items(Arrays({"a": noise(1)}), LQVAE2021, sources=SOURCES, seed=seed)
