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

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.core.errors import EmptySupportError
from lqsep.core.frame_distribution import pick_by_cdf
from lqsep.core.markov_products import MarkovProducts, markov_products
from lqsep.core.posterior_state import MarkovPosterior

# Bytes of messages and likelihoods up to which all frames are one block.
_ALL_AT_ONCE = 1 << 28

# Entries of the likelihood asked for at a time: 16 MB in float32.
_LIKELIHOOD_ENTRIES = 1 << 22


@dataclass(frozen=True)
class Smoothed:
    """What the whole sequence says.

    Args:
        log_evidence: ``log p(mixture)``, up to the likelihood's constant.
        marginals: Per source, probability of every code given the whole mixture, float32.
        codes: Independent draws from the posterior of whole sequences.
        log_prior: Of the draws.
        log_likelihood: Of the draws.
    """

    log_evidence: float
    marginals: tuple[Float[Tensor, "frames _codebook_size"], ...]
    codes: Int64[Tensor, "sources draws frames"]
    log_prior: Float64[Tensor, "sources draws"]
    log_likelihood: Float64[Tensor, " draws"]


def smooth(
    markov: MarkovPosterior,
    uniform: Float64[Tensor, "draws frames 2"],
    *,
    block_frames: int | None = None,
    on_share: Callable[[float], None] | None = None,
) -> Smoothed:
    """Evidence, marginals and draws, all exact.

    Args:
        markov: Priors and likelihood.
        uniform: Numbers in [0, 1), two per draw and frame.
        block_frames: Frames whose messages are kept at a time. None takes all of them when that
            needs no more than 256 MB, else blocks that need the least.
        on_share: Told how much is done, 0 to 1.

    Raises:
        EmptySupportError: No joint code is possible at some frame.
    """
    return _Smoother(markov, block_frames, on_share or _nobody).run(uniform)


def _nobody(share: float) -> None:
    """Told progress that nobody asked for."""


@dataclass
class _Block:
    """Some consecutive frames.

    Args:
        start: The first one.
        upper: Largest log likelihood of each.
        log_likelihood: Relative to that.
        messages: Log filtered distributions, the largest entry of each 0.
    """

    start: int
    upper: Float64[Tensor, " frames"]
    log_likelihood: Float[Tensor, "frames K0 K1"]
    messages: Float[Tensor, "frames K0 K1"]

    @property
    def stop(self) -> int:
        return self.start + len(self.upper)


class _Smoother:
    """See `smooth`."""

    def __init__(
        self, markov: MarkovPosterior, block_frames: int | None, on_share: Callable[[float], None]
    ) -> None:
        self._markov = markov
        self._products: MarkovProducts = markov_products(markov.log_transition, markov.n_frames)
        self._size = block_frames or self._default_block_frames()
        self._on_share = on_share

    def run(self, uniform: Float64[Tensor, "draws frames 2"]) -> Smoothed:
        n_frames = self._markov.n_frames
        starts = range(0, n_frames, self._size)
        scales = []
        # Before each block, the message of the frame before it; none before the first.
        messages: list[Tensor | None] = [None]
        for start in starts:
            block, scale = self._filtered(start, messages[-1], self._on_share)
            scales.append(scale)
            messages.append(block.messages[-1].clone())
        log_evidence = self._log_evidence(torch.cat(scales), block.messages[-1])
        back = _Backward(self._markov, self._products, uniform.to(block.messages.device))
        for start, message in zip(reversed(starts), messages[-2::-1], strict=True):
            if start != block.start:
                del block  # Two at a time would be twice the memory.
                block, _ = self._filtered(start, message, _nobody)
            back.through(block, self._on_share)
        return back.result(log_evidence)

    def _filtered(
        self,
        start: int,
        message: Float[Tensor, "K0 K1"] | None,
        on_share: Callable[[float], None],
    ) -> tuple[_Block, Float64[Tensor, " frames"]]:
        """A block with its messages, and the log of what each was divided by."""
        block = self._load(start)
        scales = torch.empty_like(block.upper)
        for frame, log_likelihood in enumerate(block.log_likelihood):
            # In float64, as the first frame's prior may be anything.
            log_prior = self._first() if message is None else self._products.forward(message)
            joint = log_prior + log_likelihood
            scale = joint.amax()
            message = block.messages[frame]
            message.copy_(joint - scale.nan_to_num(neginf=0.0))
            scales[frame] = scale
            on_share((start + frame + 1) / (2 * self._markov.n_frames))
        return block, scales + block.upper

    def _load(self, start: int) -> _Block:
        """A block whose messages are still to be made."""
        stop = min(start + self._size, self._markov.n_frames)
        tables = self._markov.log_transition
        shape = (stop - start, len(tables[0]), len(tables[1]))
        dtype, device = self._products.dtype, tables[0].device
        log_likelihood = torch.empty(shape, dtype=dtype, device=device)
        upper = torch.empty(shape[0], dtype=torch.float64, device=device)
        step = max(1, _LIKELIHOOD_ENTRIES // (shape[1] * shape[2]))
        for first in range(start, stop, step):
            values = self._markov.log_likelihood(first, min(first + step, stop))
            part = slice(first - start, first - start + len(values))
            largest = values.amax((1, 2), keepdim=True).nan_to_num(neginf=0.0)
            log_likelihood[part] = values - largest
            upper[part] = largest[:, 0, 0]
        return _Block(start, upper, log_likelihood, torch.empty_like(log_likelihood))

    def _first(self) -> Float64[Tensor, "K0 K1"]:
        first, second = (table.double() for table in self._markov.log_initial)
        return first[:, None] + second

    def _log_evidence(
        self, scales: Float64[Tensor, " frames"], last: Float[Tensor, "K0 K1"]
    ) -> float:
        empty = (scales == -torch.inf).nonzero()
        if len(empty):
            raise EmptySupportError(
                f"no joint code is possible at frame {int(empty[0])}: the priors and the "
                "likelihood exclude all of them. Use a likelihood with a floor, or priors that "
                "leave nothing impossible."
            )
        return float(scales.sum() + last.double().flatten().logsumexp(0))

    def _default_block_frames(self) -> int:
        n_frames, tables = self._markov.n_frames, self._markov.log_transition
        frame_bytes = len(tables[0]) * len(tables[1]) * self._products.dtype.itemsize
        if 2 * n_frames * frame_bytes <= _ALL_AT_ONCE:
            return n_frames
        # n / b messages and b frames of messages and likelihoods: least at b = sqrt(n / 2).
        return math.ceil(math.sqrt(n_frames / 2))


class _Backward:
    """The way back through all frames: marginals and draws."""

    def __init__(
        self,
        markov: MarkovPosterior,
        products: MarkovProducts,
        uniform: Float64[Tensor, "draws frames 2"],
    ) -> None:
        self._markov, self._products, self._uniform = markov, products, uniform
        n_draws, n_frames, _ = uniform.shape
        self._marginals = [
            torch.empty(n_frames, len(table), device=uniform.device)
            for table in markov.log_transition
        ]
        self._codes = uniform.new_empty(2, n_draws, n_frames, dtype=torch.int64)
        self._log_likelihood = uniform.new_zeros(n_draws)
        # log p(frames after this one | codes of this one); none at the last frame.
        self._future: Tensor | None = None

    def through(self, block: _Block, on_share: Callable[[float], None]) -> None:
        """All frames of a block, the last one first."""
        n_frames = self._markov.n_frames
        for frame in range(block.stop - 1, block.start - 1, -1):
            message = block.messages[frame - block.start]
            log_likelihood = block.log_likelihood[frame - block.start]
            future = torch.zeros_like(message) if self._future is None else self._future
            self._add_marginals(frame, message + future)
            i, j = self._draw(frame, message)
            self._codes[0, :, frame], self._codes[1, :, frame] = i, j
            self._log_likelihood += log_likelihood[i, j]
            self._log_likelihood += block.upper[frame - block.start]
            if frame:
                joint = future + log_likelihood
                self._future = self._products.backward(joint - joint.amax())
            on_share(1 - frame / (2 * n_frames))

    def result(self, log_evidence: float) -> Smoothed:
        log_prior = []
        for source, codes in enumerate(self._codes):
            first = self._markov.log_initial[source].double()[codes[:, 0]]
            steps = self._products.log_transition[source][codes[:, :-1], codes[:, 1:]]
            log_prior.append(first + steps.sum(1))
        return Smoothed(
            log_evidence,
            tuple(self._marginals),
            self._codes,
            torch.stack(log_prior),
            self._log_likelihood,
        )

    def _add_marginals(self, frame: int, joint: Float[Tensor, "K0 K1"]) -> None:
        weight = (joint - joint.amax()).exp_()
        for source, marginals in enumerate(self._marginals):
            total = weight.sum(1 - source, dtype=torch.float64)
            marginals[frame] = total / total.sum()

    def _draw(
        self, frame: int, message: Float[Tensor, "K0 K1"]
    ) -> tuple[Int64[Tensor, " draws"], Int64[Tensor, " draws"]]:
        """One pair per draw, given its pair of the next frame."""
        uniform = self._uniform[:, frame]
        if frame == self._markov.n_frames - 1:
            log_first = message.double().logsumexp(1).expand(len(uniform), -1)
            i = pick_by_cdf(log_first, uniform[:, 0])
            return i, pick_by_cdf(message[i], uniform[:, 1])
        first, second = self._products.log_transition
        next_i, next_j = self._codes[0, :, frame + 1], self._codes[1, :, frame + 1]
        log_first = self._products.sum_columns(message, next_j) + first.T[next_i]
        i = pick_by_cdf(log_first, uniform[:, 0])
        return i, pick_by_cdf(message[i] + second.T[next_j], uniform[:, 1])
