"""Counting triples: against a plain count, whatever the buffer, and on tracks of known codes."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lqsep.core.errors import AudioError, IncompatibleComponentsError
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.dataset import Dataset, Track
from lqsep.plugins.counts.counting import Counted, TripleCounter, count_codes
from lqsep.testing.toys import AddingCodec

GAINS = (0.5, 0.25)

# Sums of half a level of source 0 and a quarter of one of source 1 are levels again.
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.05, 0.15, 0.25, 0.35, 0.025, 0.075)


def as_dict(counter: TripleCounter) -> dict[tuple[int, ...], int]:
    triples, counts = counter.result()
    keys = [tuple(triple) for triple in triples.tolist()]
    assert len(set(keys)) == len(keys), "a triple is listed twice"
    return dict(zip(keys, counts.tolist(), strict=True))


@pytest.mark.parametrize("buffered", [1, 50, 10_000])
@pytest.mark.parametrize("size", [3, 17, 8192])
def test_against_a_plain_count(size: int, buffered: int) -> None:
    generator = torch.Generator().manual_seed(size)
    counter, expected = TripleCounter(size, buffered=buffered), Counter()
    for n_frames in (40, 1, 0, 300):
        codes = size - 1 - torch.randint(min(size, 6), (3, n_frames), generator=generator)
        counter.add(*codes)
        expected.update(tuple(triple) for triple in codes.T.tolist())
        assert counter._n_buffered < buffered
    assert as_dict(counter) == expected
    assert counter.n_frames == 341


def test_merging_and_coverage() -> None:
    first, second = TripleCounter(4), TripleCounter(4)
    first.add(*torch.tensor([[0, 0, 1], [1, 1, 2], [3, 3, 0]]))
    second.add(*torch.tensor([[0, 0, 2, 2], [1, 1, 2, 2], [3, 3, 3, 3]]))
    assert first.coverage(second) == 0.5
    assert second.coverage(first) == pytest.approx(2 / 3)
    assert first.coverage(TripleCounter(4)) == 0
    first.merge(second)
    assert as_dict(first) == {(0, 1, 3): 4, (1, 2, 0): 1, (2, 2, 3): 2}
    assert first.n_frames == 7


class LevelsDataset(Dataset):
    """Tracks of known codes: one list per source and track."""

    sources = ("a", "b")

    def __init__(self, *tracks: tuple[list[int], list[int]]) -> None:
        self._tracks = tracks

    def __len__(self) -> int:
        return len(self._tracks)

    def __getitem__(self, index: int) -> Track:
        waves = [
            np.repeat(np.array(LEVELS, np.float32)[codes], 4)[None] for codes in self._tracks[index]
        ]
        return Track(str(index), 8000, None, dict(zip(self.sources, waves, strict=True)))


def count(dataset: Dataset, codec: AddingCodec | None = None, **settings: object) -> Counted:
    defaults = dict(
        codebook_size=len(LEVELS),
        gains=GAINS,
        clip_s=4 * 4 / 8000,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(0),
    )
    codec = codec or AddingCodec(LEVELS)
    return count_codes(dataset, ("a", "b"), codec, **(defaults | settings))


def mixed(first: int, second: int) -> int:
    """Code of the mixture of two codes."""
    value = GAINS[0] * LEVELS[first] + GAINS[1] * LEVELS[second]
    return int(np.abs(np.array(LEVELS) - value).argmin())


def test_pairs_of_the_same_track_and_others() -> None:
    dataset = LevelsDataset(([1, 2, 3, 4, 1, 2], [2, 2, 2, 4, 4, 4]))
    counted = count(dataset)
    assert counted.coverage is None
    counts = counted.counts
    # 4 + 2 frames with what is played at the same time, as many with random clips.
    assert counts.n_frames == 12 == int(counts.counts.sum())
    assert counts.gains == GAINS
    assert counts.codec_fingerprint == AddingCodec(LEVELS).fingerprint
    found = {
        tuple(t): n for t, n in zip(counts.triples.tolist(), counts.counts.tolist(), strict=True)
    }
    for first, second in zip(*dataset._tracks[0], strict=True):
        assert found[first, second, mixed(first, second)] >= 1
    firsts = torch.bincount(counts.triples[:, 0], counts.counts.double(), minlength=5)
    assert firsts.tolist()[:5] == [0, 4, 4, 2, 2]


def test_tracks_are_mixed_with_each_other() -> None:
    """The second track's source 1 meets the first track's source 0; the held-out track does not."""
    tracks = [([1] * 8, [2] * 8), ([3] * 8, [4] * 8), ([1] * 8, [4] * 8)]
    counted = count(LevelsDataset(*tracks), passes=20)
    pairs = {tuple(triple[:2]) for triple in counted.counts.triples.tolist()}
    assert {(1, 2), (3, 4), (1, 4), (3, 2)} <= pairs
    # Of the held-out track's frames all are (1, 4), which other pairs of tracks cover; boundaries
    # of clips inside a frame give a few codes of their own.
    assert counted.coverage is not None and 0.5 < counted.coverage <= 1
    alone = count(LevelsDataset(tracks[0], ([3] * 8, [4] * 8)))
    assert alone.coverage == 0
    found = [tuple(triple) for triple in alone.counts.triples.tolist()]
    assert found == [(1, 2, mixed(1, 2)), (3, 4, mixed(3, 4))]


def test_the_seed_decides() -> None:
    dataset = LevelsDataset(([1, 2, 3, 4] * 9, [4, 3, 1, 1] * 9), ([2] * 30, [1, 3] * 15))
    runs = [
        count(dataset, passes=3, generator=torch.Generator().manual_seed(seed)).counts
        for seed in (0, 0, 1)
    ]
    assert torch.equal(runs[0].triples, runs[1].triples)
    assert torch.equal(runs[0].counts, runs[1].counts)
    same = runs[0].counts.shape == runs[2].counts.shape
    assert not (same and torch.equal(runs[0].counts, runs[2].counts))


class LoudCodec(AddingCodec):
    """Brings the mixture to an RMS of 0.2, as trained codecs do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.info = replace(self.info, level=0.2)

    def analyse(self, wave: torch.Tensor) -> EncodedMixture:
        scale = 0.2 / float(wave.square().mean().sqrt())
        found = super().analyse(wave * scale)
        return EncodedMixture(found.wave, found.latents, found.codes, scale)


def test_sources_stand_at_the_scale_of_the_mixture() -> None:
    """However loud a track is recorded, and with the codes of sources at full level."""
    found = []
    for level in (1, 4):
        counted = count(LevelsDataset(([level] * 8, [level] * 8)), LoudCodec(LEVELS)).counts
        found.append(counted.triples.tolist())
    # Equal waves: 0.75 of a source is the mixture, at 0.2.
    source = int(np.abs(np.array(LEVELS) - 0.2 / 0.75).argmin())
    assert found == [[[source, source, LEVELS.index(0.2)]]] * 2


def test_progress_and_short_tracks() -> None:
    seen = []
    dataset = LevelsDataset(([1], [2]), ([1, 2, 3, 4, 1], [1, 2]))
    counted = count(dataset, passes=2, on_progress=lambda *figures: seen.append(figures))
    assert seen[-1][0] <= seen[-1][1] == pytest.approx(2 * 6 * 4 / 8000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert counted.counts.n_frames > 0


class SilentCodec(AddingCodec):
    def analyse(self, wave: torch.Tensor) -> EncodedMixture:
        found = super().analyse(wave)
        return EncodedMixture(found.wave, found.latents, None, 1.0)


def test_what_cannot_be_counted() -> None:
    with pytest.raises(IncompatibleComponentsError, match="no codes of the mixture"):
        count(LevelsDataset(([1], [2])), SilentCodec(LEVELS))
    with pytest.raises(AudioError, match="no audio"):
        count(LevelsDataset())
