"""A smoothed Markov model as a prior.

The probability of code x after a context c mixes counts with the next shorter context c'::

    p(x | c) = (count(c, x) + m p(x | c')) / (count(c) + m)

down to the uniform distribution below the empty context; m is the number of pseudo-counts. After
one code no other is taken to be rarer than once in 500 million frames.

Reference: MacKay and Peto 1995, "A hierarchical Dirichlet language model", Natural Language
Engineering 1(3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.core.errors import ShapeError
from lqsep.core.interfaces.prior import Prior, PriorInfo
from lqsep.plugins.ngram.counts import NgramCounts

# No code is rarer than this after one other, once in 500 million frames; sums stay 1 to rounding.
# Exact inference in float32 can only be certified where no transition is next to impossible.
_RAREST = math.exp(-20)


@dataclass(frozen=True)
class NgramState:
    """The last codes, as many as the order looks back at, or fewer at the start."""

    context: Int64[Tensor, "rows context"]


class NgramPrior(Prior):
    """Markov model of order ``len(counts)``: 1 sees no earlier code, 2 one, 3 two.

    The first frames see what there is: the model of the lower order.

    Args:
        counts: Of single codes, pairs, and so on.
        smoothing: Pseudo-counts of the lower order, > 0.
        device: Where the counts live.
    """

    def __init__(
        self,
        counts: Sequence[NgramCounts],
        smoothing: float,
        device: torch.device | None = None,
    ) -> None:
        self.order = len(counts)
        self.device = device or torch.device("cpu")
        self.info = PriorInfo(counts[0].codebook_size, None)
        self._counts = tuple(counts)
        self._smoothing = smoothing

    def start(self, n_rows: int, prompt: Int64[Tensor, "rows frames"] | None = None) -> NgramState:
        """State after ``prompt``.

        Raises:
            ShapeError: The prompt has other rows than ``n_rows``.
        """
        if prompt is None:
            prompt = torch.zeros((n_rows, 0), dtype=torch.int64, device=self.device)
        if prompt.shape[0] != n_rows:
            raise ShapeError(
                f"starting the n-gram prior: expected a prompt of {n_rows} rows, got shape "
                f"{tuple(prompt.shape)}"
            )
        return NgramState(self._last(prompt))

    def step(
        self, state: NgramState, codes: Int64[Tensor, " rows"] | None
    ) -> tuple[Float[Tensor, "rows codebook_size"], NgramState]:
        """Append ``codes`` and give the next frame's log-probabilities, float32."""
        if codes is not None:
            state = NgramState(self._last(torch.cat([state.context, codes[:, None]], 1)))
        return self._table(state.context), state

    def select(self, state: NgramState, rows: Int64[Tensor, " new_rows"]) -> NgramState:
        """The state whose row ``n`` is the old row ``rows[n]``."""
        return NgramState(state.context[rows])

    def log_prob(self, codes: Int64[Tensor, "rows frames"]) -> Float[Tensor, "rows frames"]:
        """Log-probability of every code given those before it, looked up without tables."""
        result = torch.empty(codes.shape, device=codes.device)
        for n in range(1, min(self.order, codes.shape[1]) + 1):
            # Order n is for the n-th frame; the highest order also for all that follow.
            ngrams = codes.unfold(1, n, 1)  # rows, frames - n + 1, n
            ngrams = ngrams if n == self.order else ngrams[:, :1]
            log_prob = self._probability(ngrams.reshape(-1, n)).log().float()
            result[:, n - 1 : n - 1 + ngrams.shape[1]] = log_prob.view(len(codes), -1)
        return result

    def transition_matrix(
        self,
    ) -> (
        tuple[Float[Tensor, " codebook_size"], Float[Tensor, "codebook_size codebook_size"]] | None
    ):
        """Log-probabilities of the first code and of every transition; None for order 3."""
        if self.order > 2:
            return None
        initial = self._unigram.log().float()
        if self.order == 1:
            return initial, initial.expand(len(initial), -1)
        return initial, self._log_bigram

    def _last(self, codes: Tensor) -> Tensor:
        return codes[:, max(0, codes.shape[1] - self.order + 1) :]

    def _table(self, context: Int64[Tensor, "rows context"]) -> Float[Tensor, "rows codes"]:
        if context.shape[1] == 0:
            return self._unigram.log().float().repeat(context.shape[0], 1)
        if context.shape[1] == 1:
            return self._log_bigram[context[:, 0]]
        trigrams = self._counts[2]
        total = trigrams.total(context) + self._smoothing
        shorter = self._log_bigram[context[:, 1]].exp()
        table = shorter * (self._smoothing / total).float()[:, None]
        rows, codes, counts = trigrams.continuations(context)
        table.index_put_((rows, codes), (counts / total[rows]).float(), accumulate=True)
        return table.log_()

    @cached_property
    def _unigram(self) -> Float64[Tensor, " codebook_size"]:
        codes = torch.arange(self.info.codebook_size, device=self.device)
        return self._probability(codes[:, None])

    @cached_property
    def _log_bigram(self) -> Float[Tensor, "codebook_size codebook_size"]:
        contexts = torch.arange(self.info.codebook_size, device=self.device)[:, None]
        total = self._counts[1].total(contexts) + self._smoothing
        table = (self._smoothing / total)[:, None] * self._unigram
        rows, codes, counts = self._counts[1].continuations(contexts)
        table[rows, codes] += counts / total[rows]
        return table.clamp_(min=_RAREST).log_().float()

    def _probability(self, ngrams: Int64[Tensor, "rows n"]) -> Float64[Tensor, " rows"]:
        """Of the last code after the others."""
        n = ngrams.shape[1]
        if n == 0:
            return torch.full(
                (len(ngrams),),
                1 / self.info.codebook_size,
                dtype=torch.float64,
                device=ngrams.device,
            )
        counts, m = self._counts[n - 1], self._smoothing
        shorter = self._probability(ngrams[:, 1:])
        found = (counts.count(ngrams) + m * shorter) / (counts.total(ngrams[:, :-1]) + m)
        return found.clamp(min=_RAREST) if n == 2 else found
