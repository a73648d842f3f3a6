"""Exact smoothing of two Markov chains seen through one likelihood: forward-backward.

The joint state of a frame is a pair of codes; transitions factorise over the sources, so that a
step costs two matrix products instead of one over pairs of pairs. Codes are drawn on the way back:
given those of the next frame, a frame's depend on its filtered distribution only.

The forward messages of a block of frames are kept; of the blocks before it only the last one each,
from which a block is computed again when the way back reaches it.

Reference: Rabiner 1989, "A tutorial on hidden Markov models", Proceedings of the IEEE 77(2),
section III; Ghahramani and Jordan 1997, "Factorial hidden Markov models", Machine Learning 29, for
the factorised steps; Fruhwirth-Schnatter 1994, "Data augmentation and dynamic linear models",
Journal of Time Series Analysis 15(2), for drawing backwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lqsep.core.inference.smoothing.markov_steps import MarkovSteps, markov_steps
from lqsep.core.inference.smoothing.pruned import PrunedSmoother
from lqsep.core.inference.smoothing.smoothed import Smoothed, check_support, frame_scores
from lqsep.core.inference.state import MarkovPosterior

# Bytes of messages and likelihoods up to which all frames are one block.
_ALL_AT_ONCE = 1 << 28

# Blocks are multiples of so many frames: likelihoods may be made in such blocks whichever of their
# frames are asked for.
_ALIGNED = 64

# Entries of the likelihood asked for at a time: 16 MB in float32.
_LIKELIHOOD_ENTRIES = 1 << 22


def smooth(
    markov: MarkovPosterior,
    uniform: Float64[Tensor, "draws frames sources"],
    *,
    prune: float = 0.0,
    block_frames: int | None = None,
    on_share: Callable[[float], None] | None = None,
) -> Smoothed:
    """Evidence, marginals and draws: exact, or of the likely pairs.

    Args:
        markov: Priors and likelihood.
        uniform: Numbers in [0, 1), two per draw and frame; no draws are allowed.
        prune: Codes below this share of the heaviest one's weight are left out of a frame, see
            `lqsep.core.inference.smoothing.pruned`; 0 keeps all. Only on CPUs: elsewhere a product
            of all pairs is the fastest.
        block_frames: Frames whose messages are kept at a time. None takes all of them when that
            needs no more than 256 MB, else blocks that need the least.
        on_share: Told how much is done, 0 to 1.

    Raises:
        EmptySupportError: No joint code is possible at some frame.
    """
    steps = markov_steps(markov.log_transition, markov.n_frames)
    on_share = on_share or _nobody
    if prune and markov.log_transition[0].device.type == "cpu":
        pruned = PrunedSmoother(markov, steps.arithmetic, prune, block_frames, on_share)
        found = pruned.run(uniform)
        if found is not None:
            return found
    return _Smoother(markov, steps, block_frames, on_share).run(uniform)


def _exact(markov: MarkovPosterior, frame: int) -> Float64[Tensor, "K0 K1"]:
    """Log-likelihoods of one frame relative to its largest."""
    values = markov.log_likelihood(frame, frame + 1)[0].double()
    return values - values.amax().nan_to_num(neginf=0.0)


def _nobody(share: float) -> None:
    """Told progress that nobody asked for."""


@dataclass
class _Block:
    """Some consecutive frames.

    Args:
        start: The first one.
        upper: Largest log likelihood of each.
        likelihood: Relative to that, in the form of the steps.
        messages: Filtered distributions, likewise.
    """

    start: int
    upper: Float64[Tensor, " frames"]
    likelihood: Float[Tensor, "frames K0 K1"]
    messages: Float[Tensor, "frames K0 K1"]

    @property
    def stop(self) -> int:
        return self.start + len(self.upper)


class _Smoother:
    """See `smooth`."""

    def __init__(
        self,
        markov: MarkovPosterior,
        steps: MarkovSteps,
        block_frames: int | None,
        on_share: Callable[[float], None],
    ) -> None:
        self._markov, self._steps = markov, steps
        size = min(block_frames or self._default_block_frames(), markov.n_frames)
        self._size = size
        self._on_share = on_share
        tables = markov.log_transition
        pairs = (len(tables[0]), len(tables[1]))
        # Made once: blocks that come and go among messages that stay would tear the memory apart.
        self._likelihood, self._messages, self._before = (
            torch.empty(n, *pairs, dtype=steps.arithmetic.dtype, device=tables[0].device)
            # The last ones are the messages of the frames before each block, none for the first.
            for n in (size, size, -(-markov.n_frames // size))
        )

    def run(self, uniform: Float64[Tensor, "draws frames sources"]) -> Smoothed:
        starts = range(0, self._markov.n_frames, self._size)
        evidence = []
        block, message = None, None
        for number, start in enumerate(starts):
            if block is not None:
                message = self._before[number]
                message.copy_(block.messages[-1])
            block, scales = self._filtered(start, message, self._on_share)
            evidence.append(scales)
        log_evidence = torch.cat(evidence)
        check_support(log_evidence)
        back = _Backward(self._markov, self._steps, uniform.to(log_evidence.device))
        for number, start in reversed(list(enumerate(starts))):
            if block is None or start != block.start:
                message = self._before[number] if number else None
                block, _ = self._filtered(start, message, _nobody)
            back.through(block, self._on_share)
        return back.result(log_evidence)

    def _filtered(
        self,
        start: int,
        message: Float[Tensor, "K0 K1"] | None,
        on_share: Callable[[float], None],
    ) -> tuple[_Block, Float64[Tensor, " frames"]]:
        """A block with its messages, and ``log p(frame | frames before it)``."""
        block = self._load(start)
        scales = torch.empty_like(block.upper)
        for frame, likelihood in enumerate(block.likelihood):
            before, message = message, block.messages[frame]
            exact = partial(_exact, self._markov, start + frame)
            if before is None:
                scales[frame] = self._steps.first(self._log_initial(), message, exact)
            else:
                predicted = self._steps.forward(before)
                scales[frame] = self._steps.filtered(predicted, likelihood, message, exact)
            on_share((start + frame + 1) / (2 * self._markov.n_frames))
        return block, scales + block.upper

    def _load(self, start: int) -> _Block:
        """A block whose messages are still to be made."""
        stop = min(start + self._size, self._markov.n_frames)
        likelihood, messages = self._likelihood[: stop - start], self._messages[: stop - start]
        upper = torch.empty(stop - start, dtype=torch.float64, device=likelihood.device)
        step = max(1, _LIKELIHOOD_ENTRIES // likelihood[0].numel())
        # In multiples of the step, which is how likelihoods are quick to compute.
        for first in range(start - start % step, stop, step):
            low, high = max(first, start), min(first + step, stop)
            part = slice(low - start, high - start)
            values = self._markov.log_likelihood(low, high)
            upper[part] = self._steps.likelihoods(values, likelihood[part])
            del values  # Its memory goes before the next ones come.
        return _Block(start, upper, likelihood, messages)

    def _log_initial(self) -> Float64[Tensor, "K0 K1"]:
        first, second = (table.double() for table in self._markov.log_initial)
        return first[:, None] + second

    def _default_block_frames(self) -> int:
        n_frames, tables = self._markov.n_frames, self._markov.log_transition
        frame_bytes = len(tables[0]) * len(tables[1]) * self._steps.arithmetic.dtype.itemsize
        if 2 * n_frames * frame_bytes <= _ALL_AT_ONCE:
            return n_frames
        # n / b messages and b frames of messages and likelihoods: least at b = sqrt(n / 2).
        return _ALIGNED * math.ceil(math.sqrt(n_frames / 2) / _ALIGNED)


class _Backward:
    """The way back through all frames: marginals and draws."""

    def __init__(
        self,
        markov: MarkovPosterior,
        steps: MarkovSteps,
        uniform: Float64[Tensor, "draws frames sources"],
    ) -> None:
        self._markov, self._steps, self._uniform = markov, steps, uniform
        n_draws, n_frames, _ = uniform.shape
        self._marginals = [
            torch.empty(n_frames, len(table), device=uniform.device)
            for table in markov.log_transition
        ]
        self._codes = uniform.new_empty(2, n_draws, n_frames, dtype=torch.int64)
        self._log_likelihood = uniform.new_empty(n_draws, n_frames)
        # What the frames after the present one say of its codes; None at the last frame.
        self._future: Tensor | None = None
        self._following: Tensor | None = None

    def through(self, block: _Block, on_share: Callable[[float], None]) -> None:
        """All frames of a block, the last one first."""
        for frame in range(block.stop - 1, block.start - 1, -1):
            place = frame - block.start
            message, likelihood = block.messages[place], block.likelihood[place]
            marginals = self._steps.marginals(message, self._future)
            for table, found in zip(self._marginals, marginals, strict=True):
                table[frame] = found
            exact = partial(_exact, self._markov, frame)
            if len(self._uniform):
                codes = self._steps.draw(message, self._uniform[:, frame], self._following)
                self._following = self._codes[:, :, frame] = codes
                values = self._steps.log_likelihood(likelihood, codes, exact)
                self._log_likelihood[:, frame] = values + block.upper[place]
            if frame:
                self._future = self._steps.backward(self._future, likelihood, exact)
            on_share(1 - frame / (2 * self._markov.n_frames))

    def result(self, log_evidence: Float64[Tensor, " frames"]) -> Smoothed:
        return Smoothed(
            float(log_evidence.sum()),
            tuple(self._marginals),
            self._codes,
            frame_scores(self._markov, self._codes, self._log_likelihood, log_evidence),
        )
