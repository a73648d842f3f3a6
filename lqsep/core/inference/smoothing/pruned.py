"""Smoothing that looks at the likely pairs of every frame only.

A frame keeps some codes of each source, its rows and columns, by their weight (see
`lqsep.core.inference.smoothing.keeping`) relative to the heaviest: first those of a small part of
the share that was asked for, by a bound of what they have in view of the frame, then those of that
share, by what they have in fact. Likelihoods, messages, products, marginals and draws are of their
pairs.
What comes out is exact for another posterior, that of the sequences whose codes are kept at every
frame: evidence, marginals and draws agree with each other, and the evidence is a lower bound of the
whole one.

**What is lost.** Going back it is known what a frame and those after it say of the kept pairs,
``B = L * beta``, so that for any row of the frame before

    max_j beta[i, j] <= sum_i' A0[i, i'] sum_j' B[i', j'] max_j A1[j, j']

Times what the row had going forward, or the bound of it, summed over the rows and columns that are
left out, this bounds what the sequences would add that leave the kept pairs in one frame and in no
other. As the other source is free to choose, it is a hundred times too large or so. Where it is
above `_MOST_LOST`, all pairs of the frame are looked at to know what it is in fact. Both are
`Pruning.lost`.

Sequences that leave the kept pairs for longer are bounded by nothing but a look at all of them.
That weights look ahead is what guards against them: a code is kept if what is in view makes up for
its frame. Beyond that two signs may give them away:

- A frame has lost more than `_MOST_LOST` in fact. They pass through it.
- A frame has less than the share asked for of its best pair's likelihood: it contradicts what was
  expected, and what was left out before may be all that it allows.

Then the frames up to this one keep everything, and more of them as long as that helps. Where it
does not, down to what float32 can tell, or where the chains exclude something, so that float32
cannot vouch for whole frames either, there is no pruned result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64
from torch import Tensor

from lqsep.core.inference.smoothing.chunks import Chunks
from lqsep.core.inference.smoothing.keeping import HORIZON, Chunk, Reach, heaviest
from lqsep.core.inference.smoothing.kept_products import Chains, Part, Row, likelihoods_of
from lqsep.core.inference.smoothing.markov_steps import Logs, Scaled
from lqsep.core.inference.smoothing.smoothed import Pruning, Smoothed, frame_scores
from lqsep.core.inference.state import MarkovPosterior

# Of the share asked for, the part below which codes are left out beforehand.
_BEFOREHAND = 1 / 32

# Share of the evidence that a frame may have lost.
_MOST_LOST = 0.05

# Frames that keep everything where too much was lost, at first: what was left out nearer than the
# horizon would have been seen. Then four times as many.
_WIDTH = 4 * HORIZON

# A frame that has this much more evidence after that has been helped.
_HELPED = 1.01

# Less than this of a frame's best pair's likelihood is more than float32 is good for.
_HOPELESS = 1e-12

# Bytes of messages and likelihoods that stay for the way back; the others are made again.
_STAY_BYTES = 1 << 26

# Entries of the likelihood asked for at a time: 16 MB in float32.
_LIKELIHOOD_ENTRIES = 1 << 22


@dataclass
class _Block:
    """Some consecutive frames with their messages.

    Args:
        start: The first one.
        upper: Largest log likelihood of each.
        messages: Distributions of the frames' codes given the frames so far. The message of the
            frame before the block comes first; None where there is none.
        likelihoods: Relative to the largest of each frame.
        scales: What the frames have of their largest likelihood.
        had: Per source, what each code has of it, or a bound of that.
    """

    start: int
    upper: npt.NDArray[np.float64]
    messages: list[Part | None]
    likelihoods: list[Tensor] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    had: list[list[Row]] = field(default_factory=list)

    @property
    def n_frames(self) -> int:
        return len(self.upper)

    @property
    def stop(self) -> int:
        return self.start + self.n_frames

    @property
    def n_bytes(self) -> int:
        """Of messages and likelihoods."""
        return 2 * sum(values.nbytes for values in self.likelihoods)

    def message(self, place: int) -> Part:
        """Of one of its frames."""
        found = self.messages[place + 1]
        assert found is not None
        return found


class PrunedSmoother:
    """See `lqsep.core.inference.smoothing.forward_backward.smooth`.

    Args:
        markov: Priors and likelihood.
        arithmetic: That all pairs would be computed in.
        prune: Share of the heaviest code's weight, above 0.
        block_frames: Frames whose messages stay for the way back; None: 64 MB of them.
        on_share: Told how much is done.
    """

    def __init__(
        self,
        markov: MarkovPosterior,
        arithmetic: Scaled | Logs,
        prune: float,
        block_frames: int | None,
        on_share: Callable[[float], None],
    ) -> None:
        self._markov, self._prune, self._on_share = markov, prune, on_share
        self._chains = Chains(markov)
        self._block_frames = block_frames
        self._float32_knows_all = isinstance(arithmetic, Scaled)
        n_rows, n_columns = self._chains.n_codes
        self._size = max(HORIZON, _LIKELIHOOD_ENTRIES // (n_rows * n_columns))
        self._log_evidence = np.zeros(markov.n_frames)
        self._whole: set[int] = set()
        # Of frames that contradict what was expected: what they had, and how many were whole.
        self._met: dict[int, tuple[float, int]] = {}
        self._blocks: dict[int, _Block] = {}
        # Message before each chunk.
        self._before: dict[int, Part | None] = {0: None}

    def run(self, uniform: Float64[Tensor, "draws frames 2"]) -> Smoothed | None:
        """Passes until little is lost; None where pruning cannot be relied on."""
        try:
            with Chunks(self._markov, self._size) as chunks:
                return self._run(chunks, uniform)
        except _Hopeless:
            return None

    def _run(self, chunks: Chunks, uniform: Float64[Tensor, "draws frames 2"]) -> Smoothed:
        first, width = 0, _WIDTH
        while True:
            self._forward(chunks, first)
            back = _WayBack(self._markov, self._chains, uniform, chunks)
            for number in reversed(range(len(chunks))):
                block = self._blocks.pop(number, None) or self._filtered(chunks, number, _nobody)
                if number - 1 not in self._blocks:
                    chunks.expect(number - 1)
                back.through(block, self._on_share)
            lost = np.flatnonzero(back.lost > _MOST_LOST).tolist()
            if not lost:
                return back.result(torch.from_numpy(self._log_evidence), self._whole)
            first = min(self._keep_all(frame, width) for frame in lost) // self._size
            width *= 4

    def _forward(self, chunks: Chunks, first: int) -> None:
        """Messages of the chunks from one on; as many of them stay as there is room for."""
        number = first
        while number < len(chunks):
            for later in range(number, number + 3):
                chunks.expect(later)
            try:
                block = self._filtered(chunks, number, self._on_share)
            except _TooLittle as found:
                number = found.start // self._size
                continue
            self._before[number + 1] = block.messages[-1]
            # What was made of later ones is out of date.
            self._blocks = {n: old for n, old in self._blocks.items() if n < number}
            self._blocks[number] = block
            self._make_room()
            number += 1

    def _make_room(self) -> None:
        """The newest one stays; the way back needs the first ones last."""
        room, newest = self._block_frames or _STAY_BYTES, max(self._blocks)
        for number in sorted(self._blocks, reverse=True):
            block = self._blocks[number]
            room -= block.n_frames if self._block_frames else block.n_bytes
            if room < 0 and number < newest:
                del self._blocks[number]

    def _filtered(self, chunks: Chunks, number: int, on_share: Callable[[float], None]) -> _Block:
        """A chunk with its messages.

        Raises:
            _Hopeless: See `run`.
            _TooLittle: A frame contradicts what was expected.
        """
        chunk = chunks.chunk(number)
        reach = chunk.reach(chunks.head(number), self._chains.probability)
        block = _Block(chunk.start, chunk.upper.astype(float), [self._before[number]])
        for place in range(block.n_frames):
            self._add(block, chunk, place, (reach[0][place], reach[1][place]))
            self._check(block.start + place, block.scales[place])
            log_scale = math.log(block.scales[place])
            self._log_evidence[block.start + place] = log_scale + block.upper[place]
            on_share((block.start + place + 1) / (2 * self._markov.n_frames))
        return block

    def _add(self, block: _Block, chunk: Chunk, place: int, reach: tuple[Reach, Reach]) -> None:
        """One more frame."""
        message, upper = block.messages[place], float(block.upper[place])
        expected = self._chains.expected(message)
        had = [codes * peaks[place] for codes, peaks in zip(expected, chunk.peaks, strict=True)]
        kept = self._chains.everything
        keeps_all = chunk.start + place in self._whole
        if not keeps_all:
            kept = heaviest(had, reach, self._prune * _BEFOREHAND)
        likelihood = likelihoods_of(kept.of(chunk.values[place]), upper)
        joint = self._chains.forward(message, kept).mul_(likelihood)
        if not keeps_all:
            sums = joint.sum(1).numpy(), joint.sum(0).numpy()
            for table, codes, values in zip(had, kept, sums, strict=True):
                table[codes] = values
            inner = heaviest(sums, [reach[0][kept.rows], reach[1][kept.columns]], self._prune)
            kept = kept.chosen(inner)
            joint, likelihood = (
                torch.from_numpy(inner.of(pairs.numpy())) for pairs in (joint, likelihood)
            )
        scale = float(joint.sum())
        block.had.append(had)
        block.scales.append(scale)
        block.likelihoods.append(likelihood)
        block.messages.append(Part.scaled(joint, scale, kept))

    def _check(self, frame: int, scale: float) -> None:
        """Has frames keep everything where one has too little of what was expected.

        Raises:
            _Hopeless: It has less than float32 can tell.
            _TooLittle: They are to be computed again.
        """
        if scale >= self._prune:
            return
        if scale < _HOPELESS:
            raise _Hopeless
        had, width = self._met.get(frame, (0.0, _WIDTH // 4))
        if scale < _HELPED * had or self._whole.issuperset(range(frame + 1)):
            return
        self._met[frame] = scale, 4 * width
        raise _TooLittle(self._keep_all(frame, 4 * width))

    def _keep_all(self, frame: int, width: int) -> int:
        """The first of so many frames up to one, which keep everything from now on.

        Raises:
            _Hopeless: Float32 does not know them even so.
        """
        if not self._float32_knows_all:
            raise _Hopeless
        start = max(0, frame + 1 - width)
        self._whole.update(range(start, frame + 1))
        return start


def _nobody(share: float) -> None:
    """Told progress that has been told before."""


class _Hopeless(Exception):
    """All pairs have to be looked at, in another way."""


class _TooLittle(Exception):
    """The frames from ``start`` on are to be computed again."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


class _WayBack:
    """Marginals, draws and losses, from the last frame to the first."""

    def __init__(
        self,
        markov: MarkovPosterior,
        chains: Chains,
        uniform: Float64[Tensor, "draws frames 2"],
        chunks: Chunks,
    ) -> None:
        self._markov, self._chains, self._uniform = markov, chains, uniform.numpy()
        self._chunks = chunks
        n_draws, n_frames, _ = uniform.shape
        self._marginals = [np.zeros((n_frames, size), np.float32) for size in chains.n_codes]
        self._kept = [np.zeros((n_frames, size), bool) for size in chains.n_codes]
        self._codes = np.zeros((2, n_draws, n_frames), np.int64)
        self._log_likelihood = np.zeros((n_draws, n_frames))
        self.lost = np.zeros(n_frames)
        # What the frames after the present one say of the next; None at the last frame.
        self._after: Part | None = None

    def through(self, block: _Block, on_share: Callable[[float], None]) -> None:
        """All frames of a block, the last one first."""
        after: list[Part | None] = [None] * block.n_frames
        for place in reversed(range(block.n_frames)):
            frame, message = block.start + place, block.message(place)
            joint, seen = message.values, block.likelihoods[place]
            after[place] = self._after
            if self._after is not None:
                future = self._chains.backward(self._after, message.kept)
                joint, seen = joint * future, seen * future
            sums = joint.sum(1).numpy(), joint.sum(0).numpy()
            for source, codes in enumerate(message.kept):
                self._marginals[source][frame, codes] = sums[source]
                self._kept[source][frame, codes] = True
            if len(self._uniform):
                self._draw(block, place)
            largest = float(seen.amax())
            if largest < _HOPELESS:
                raise _Hopeless
            self._after = Part.scaled(seen.clone(), largest, message.kept)
            on_share(1 - frame / (2 * self._markov.n_frames))
        self._finish(block, after)

    def result(self, log_evidence: Float64[Tensor, " frames"], whole: set[int]) -> Smoothed:
        """What was found, once all frames are done."""
        codes, log_likelihood = map(torch.from_numpy, (self._codes, self._log_likelihood))
        first, second = map(torch.from_numpy, self._kept)
        return Smoothed(
            float(log_evidence.sum()),
            tuple(map(torch.from_numpy, self._marginals)),
            codes,
            frame_scores(self._markov, codes, log_likelihood, log_evidence),
            Pruning((first, second), torch.from_numpy(self.lost), frozenset(whole)),
        )

    def _draw(self, block: _Block, place: int) -> None:
        """One pair per draw, given its pair of the next frame."""
        frame, message = block.start + place, block.message(place)
        following = None if self._after is None else self._codes[:, :, frame + 1]
        i, j = self._chains.draw(message, following, self._uniform[:, frame])
        self._codes[0, :, frame] = message.kept.rows[i]
        self._codes[1, :, frame] = message.kept.columns[j]
        likelihood = block.likelihoods[place].numpy()[i, j].astype(float)
        self._log_likelihood[:, frame] = np.log(likelihood) + block.upper[place]

    def _finish(self, block: _Block, after: list[Part | None]) -> None:
        """Normalises a block's marginals, and says what it has lost."""
        part = slice(block.start, block.stop)
        lost, totals = np.zeros(block.n_frames), self._marginals[0][part].sum(1, dtype=float)
        for source, table in enumerate(self._marginals):
            table[part] /= table[part].sum(1, keepdims=True)
            had = np.stack([codes[source] for codes in block.had])
            had *= ~self._kept[source][part]
            lost += (had * self._chains.most(after, source)).sum(1, dtype=float)
        totals *= block.scales
        lost /= totals
        doubtful = np.flatnonzero(lost > _MOST_LOST).tolist()
        if doubtful:
            values = self._chunks.values(block.start, block.stop)
            for place in doubtful:
                logs = values[place].numpy().copy()
                all_pairs = likelihoods_of(logs, float(block.upper[place]))
                all_pairs *= self._chains.forward(block.messages[place], self._chains.everything)
                seen = after[place]
                if seen is not None:
                    all_pairs *= self._chains.backward(seen, self._chains.everything)
                all_pairs.numpy()[np.ix_(*block.message(place).kept)] = 0.0
                lost[place] = float(all_pairs.sum(dtype=torch.float64)) / totals[place]
        self.lost[part] = lost
