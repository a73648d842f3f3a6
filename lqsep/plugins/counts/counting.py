"""Mix recordings of the sources, encode, and count which codes meet.

No mixture of anybody's is needed: two stems are brought to the level at which they stand in a
mixture, added with the gains of the model, and the three waves encoded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.components.config import check_two_sources
from lqsep.core.corpus.audio_pool import STRICT, AudioPool, Reading, stem_level
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.dataset import Dataset
from lqsep.plugins.counts.store import TripleCounts

# Frames gathered before they are sorted into the counts: 32 MiB.
_BUFFERED = 1 << 22

# Longest clip, in seconds: convolutional codecs need some hundred bytes per sample.
_LONGEST_CLIP_S = 60.0

# One track of so many is counted last, to see how much of it the others cover.
_HELD_OUT = 10

OnProgress = Callable[[float, float], None]
"""Called as ``on_progress(done_s, total_s)``, in seconds of source 0's recordings."""


@dataclass(frozen=True)
class Counted:
    """What was counted, and how far it reaches.

    Args:
        counts: Of all tracks.
        coverage: Share of the frames of the held-out tracks whose triple occurs in the other
            tracks; None with a single track.
    """

    counts: TripleCounts
    coverage: float | None


class TripleCounter:
    """Counts triples; memory grows with the distinct ones, not with the frames.

    Args:
        codebook_size: Codes of each source and of the mixture; its cube must fit 63 bits.
        buffered: Frames gathered before they are sorted in.
    """

    def __init__(self, codebook_size: int, *, buffered: int = _BUFFERED) -> None:
        self.codebook_size = codebook_size
        self.n_frames = 0
        self._limit = buffered
        self._buffer: list[Tensor] = []
        self._n_buffered = 0
        self._keys = torch.zeros(0, dtype=torch.int64)
        self._counts = torch.zeros(0, dtype=torch.int64)

    def add(
        self,
        first: Int64[Tensor, " frames"],
        second: Int64[Tensor, " frames"],
        mixture: Int64[Tensor, " frames"],
    ) -> None:
        """Count the codes of the same frames."""
        size = self.codebook_size
        self._buffer.append(((mixture * size + first) * size + second).cpu())
        self._n_buffered += len(first)
        self.n_frames += len(first)
        if self._n_buffered >= self._limit:
            self._flush()

    def merge(self, other: TripleCounter) -> None:
        """Add what another one counted."""
        other._flush()
        self._flush()
        self._include(other._keys, other._counts)
        self.n_frames += other.n_frames

    def coverage(self, other: TripleCounter) -> float:
        """Share of another one's frames whose triple occurs here; 0 when there are none."""
        other._flush()
        self._flush()
        common = torch.isin(other._keys, self._keys, assume_unique=True)
        return float(other._counts[common].sum()) / max(other.n_frames, 1)

    def result(self) -> tuple[Int64[Tensor, "entries 3"], Int64[Tensor, " entries"]]:
        """Distinct triples (source 0, source 1, mixture) and how often each occurs."""
        self._flush()
        size = self.codebook_size
        codes = (self._keys // size % size, self._keys % size, self._keys // size**2)
        return torch.stack(codes, 1), self._counts

    def _flush(self) -> None:
        if self._buffer:
            self._include(*torch.unique(torch.cat(self._buffer), return_counts=True))
            self._buffer, self._n_buffered = [], 0

    def _include(self, keys: Tensor, counts: Tensor) -> None:
        self._keys, place = torch.unique(torch.cat([self._keys, keys]), return_inverse=True)
        counts = torch.cat([self._counts, counts])
        self._counts = counts.new_zeros(len(self._keys)).index_add_(0, place, counts)


def count_codes(
    dataset: Dataset,
    sources: Sequence[str],
    codec: Codec,
    *,
    codebook_size: int,
    gains: Sequence[float],
    clip_s: float,
    device: torch.device,
    generator: torch.Generator,
    passes: int = 1,
    reading: Reading = STRICT,
    on_progress: OnProgress | None = None,
) -> Counted:
    """Count the codes of two sources and of their mixture over a data set.

    Every pass goes through all recordings of source 0 in clips. Each is mixed with what source 1
    plays at the same time in the same track, and with a random clip of source 1. The first pass
    starts clips at the beginning of the tracks, the others somewhere else: other codes for the
    same sound.

    Args:
        dataset: Tracks with both stems.
        sources: Names of source 0 and source 1.
        codec: On ``device``.
        codebook_size: Codes of each source and of the mixture.
        gains: Of the two sources.
        clip_s: Length of the clips, best that of the segments of a separation: the codec brings
            each to its level as a whole.
        device: Where the codec runs.
        generator: Draws the random clips.
        passes: How often the data set is gone through.
        reading: Which tracks may be left out.
        on_progress: Progress callback.

    Raises:
        AudioError: There is no audio, or too much that cannot be read.
        IncompatibleComponentsError: There are not two sources, or the codec gives no codes of the
            mixture.
    """
    check_two_sources(gains, "counting codes")
    rate = codec.info.sample_rate
    level = stem_level(codec.info.level, gains)
    waves = AudioPool(dataset, sources, rate, level=level, reading=reading).waves
    n_tracks = len(waves[0])
    n_counted = n_tracks if n_tracks < 2 else n_tracks - max(1, n_tracks // _HELD_OUT)
    total_s = passes * sum(len(wave) for wave in waves[0]) / rate
    clip = max(1, round(min(clip_s, _LONGEST_CLIP_S) * rate))
    counters = TripleCounter(codebook_size), TripleCounter(codebook_size)
    done_s = 0.0
    for track, first, second in _pairs(waves, n_counted, clip, passes, generator):
        codes = _encode(codec, first.to(device), second.to(device), gains)
        counters[track >= n_counted].add(*codes)
        if on_progress is not None:
            done_s += len(first) / 2 / rate  # Every clip comes twice.
            on_progress(min(done_s, total_s), total_s)
    coverage = counters[0].coverage(counters[1]) if n_counted < n_tracks else None
    counters[0].merge(counters[1])
    triples, counts = counters[0].result()
    return Counted(
        TripleCounts(
            triples, counts, codebook_size, counters[0].n_frames, tuple(gains), codec.fingerprint
        ),
        coverage,
    )


def _pairs(
    waves: Sequence[Sequence[Tensor]],
    n_counted: int,
    clip: int,
    passes: int,
    generator: torch.Generator,
) -> Iterator[tuple[int, Float[Tensor, " samples"], Float[Tensor, " samples"]]]:
    """Clips of source 0, the number of their track, and clips of source 1 as long.

    The first ``n_counted`` tracks are mixed among each other only, and so are the others.
    """
    for number, track in itertools.product(range(passes), range(len(waves[0]))):
        group = range(n_counted) if track < n_counted else range(n_counted, len(waves[0]))
        n_samples = min(len(waves[0][track]), len(waves[1][track]))
        shift = int(torch.randint(clip, (), generator=generator)) if number else 0
        for start, stop in itertools.pairwise([0, *range(shift, n_samples, clip), n_samples]):
            if start == stop:
                continue
            first = waves[0][track][start:stop]
            yield track, first, waves[1][track][start:stop]
            other = group[int(torch.randint(len(group), (), generator=generator))]
            wave = waves[1][other]
            length = min(len(first), len(wave))
            if length:
                latest = len(wave) - length
                start = int(torch.randint(latest + 1, (), generator=generator))
                yield track, first[:length], wave[start : start + length]


def _encode(
    codec: Codec,
    first: Float[Tensor, " samples"],
    second: Float[Tensor, " samples"],
    gains: Sequence[float],
) -> tuple[Int64[Tensor, " frames"], Int64[Tensor, " frames"], Int64[Tensor, " frames"]]:
    """Codes of both sources and of their mixture.

    The mixture is analysed as in a separation; the sources stand at the scale that this gives it,
    without their gains, as their priors know them.
    """
    shape = (1, codec.info.channels, -1)
    encoded = codec.analyse((gains[0] * first + gains[1] * second).expand(shape))
    if encoded.codes is None:
        raise IncompatibleComponentsError(
            "counting codes: the codec gives no codes of the mixture; use a codec that does"
        )
    codes = [
        codec.encode((encoded.scale * wave).expand(shape), source)[0]
        for source, wave in enumerate((first, second))
    ]
    return codes[0], codes[1], encoded.codes
