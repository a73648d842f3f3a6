"""The joint distribution of one frame's codes, for many hypotheses at once.

With the frame's likelihood ``L`` and prior tables ``a = log p0``, ``b = log p1`` (each given that
hypothesis's past), a pair of codes has

    log p(i, j | past, mixture) = a_i + b_j + log L_ij - log Z,   log Z = log p(mixture | past).

The K x K pairs are never listed per hypothesis. A pair is drawn in two exact stages,
``p(i) ~ exp(a_i + log sum_j exp(b_j + log L_ij))`` and ``p(j | i) ~ exp(b_j + log L_ij)``, and the
best pairs are found by `lqsep.core.inference.joint_search`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.core.inference.filters import Filters, filter_table
from lqsep.core.inference.joint_search import JointTable, Pairs, pairs_kept
from lqsep.core.interfaces.calls import ask
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.interfaces.returned import expect


class FrameDistribution:
    """``p(codes | past, mixture)`` of one frame under some filters.

    Args:
        likelihood: Of the frame.
        tables: Unfiltered log-probabilities, one ``rows codebook_size`` table per source.
        filters: What may be chosen.
    """

    filters: Filters
    log_evidence: Float64[Tensor, " rows"]
    """Log of the sum of ``exp(a + b + log L)`` over the pairs that the filters leave."""

    def __init__(
        self,
        likelihood: FrameLikelihood,
        tables: Sequence[Float[Tensor, "rows _codebook_size"]],
        filters: Filters,
    ) -> None:
        self.filters = filters
        self._likelihood = likelihood
        self._log_p0, self._log_p1 = (filter_table(table, filters).double() for table in tables)
        self._rows = torch.arange(len(self._log_p0), device=self._log_p0.device)
        method, shape = likelihood.row_logsum, self._log_p0.shape
        logsum = ask(method, self._log_p0, self._log_p1)
        expect(method, "sums", logsum, float, hypotheses=shape[0], codes=shape[1])
        self._row_logsum = logsum.double()
        self.log_evidence = (self._log_p0 + self._row_logsum).logsumexp(1)
        self._kept: tuple[Pairs, ...] | None = None
        if filters.restricts_pairs:
            self._kept, self._list_of = self._pairs_kept()
            evidence = torch.stack([pairs.score.logsumexp(0) for pairs in self._kept])
            self.log_evidence = evidence[self._list_of]

    def draw(
        self,
        uniform: Float64[Tensor, "draws sources"],
        rows: Int64[Tensor, " draws"] | None = None,
    ) -> Int64[Tensor, "draws sources"]:
        """One pair per hypothesis, exactly, from a uniform number per source.

        Args:
            uniform: In [0, 1).
            rows: Hypotheses to draw for, which may repeat or leave out some; None: all, in order.
                Each needs a possible pair, that is a finite ``log_evidence``.
        """
        rows = self._rows if rows is None else rows
        if self._kept is not None:
            return self._draw_kept(self._kept, uniform[:, 0], self._list_of[rows])
        first = pick_by_cdf((self._log_p0 + self._row_logsum)[rows], uniform[:, 0])
        method = self._likelihood.rows
        likelihood, n_codes = ask(method, rows, first), self._log_p1.shape[1]
        expect(method, "log-likelihood", likelihood, float, rows=len(rows), codes=n_codes)
        given_first = self._log_p1[rows] + likelihood
        return torch.stack([first, pick_by_cdf(given_first, uniform[:, 1])], 1)

    def best(
        self, score: Float64[Tensor, " rows"], k: int
    ) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, "kept sources"]]:
        """The ``k`` best continuations of hypotheses with these scores, best first: rows, codes."""
        if self._kept is None:
            pairs = self._table(score).best(k)
            return pairs.rows, pairs.codes
        lists = [self._kept[number] for number in self._list_of.tolist()]
        total = torch.cat([pairs.score + score[n] for n, pairs in enumerate(lists)])
        rows = torch.cat([torch.full_like(pairs.rows, n) for n, pairs in enumerate(lists)])
        order = total.sort(descending=True, stable=True).indices[:k]
        return rows[order], torch.cat([pairs.codes for pairs in lists])[order]

    def score(
        self, rows: Int64[Tensor, " chosen"], codes: Int64[Tensor, "chosen sources"]
    ) -> tuple[Float64[Tensor, " chosen"], Float64[Tensor, " chosen"]]:
        """Filtered log prior plus log likelihood of given pairs, and the log likelihood alone."""
        method = self._likelihood.at
        log_likelihood = ask(method, rows, codes)
        expect(method, "log-likelihood", log_likelihood, float, rows=len(rows))
        log_prior = self._log_p0[rows, codes[:, 0]] + self._log_p1[rows, codes[:, 1]]
        return log_prior + log_likelihood, log_likelihood

    def log_proposal(
        self, rows: Int64[Tensor, " chosen"], score: Float64[Tensor, " chosen"]
    ) -> Float64[Tensor, " chosen"]:
        """Log-probability of drawing pairs of the given score (which the filters leave)."""
        possible = score > float("-inf")
        return torch.where(possible, score - self.log_evidence[rows], score)

    def _draw_kept(
        self, lists: Sequence[Pairs], uniform: Tensor, list_of: Tensor
    ) -> Int64[Tensor, "draws sources"]:
        """One pair per draw from the list that it belongs to; each list is gone through once."""
        codes = uniform.new_empty((len(uniform), 2), dtype=torch.int64)
        sizes = torch.bincount(list_of, minlength=len(lists)).tolist()
        for pairs, draws in zip(lists, torch.split(list_of.argsort(), sizes), strict=True):
            if len(draws):
                codes[draws] = pairs.codes[_pick(pairs.score[None], uniform[None, draws])[0]]
        return codes

    def _pairs_kept(self) -> tuple[tuple[Pairs, ...], Int64[Tensor, " rows"]]:
        """What the joint filters leave, as different lists, and the list of each hypothesis."""
        first = list_of = self._rows
        if self._likelihood.n_rows == 1:
            tables = torch.cat([self._log_p0, self._log_p1], 1)
            _, list_of = torch.unique(tables, dim=0, return_inverse=True)
            first = torch.zeros_like(list_of[: int(list_of.max()) + 1])
            first = first.scatter(0, list_of, self._rows)
        table = self._table(torch.zeros_like(self.log_evidence))
        lists = [
            pairs_kept(table.row(n), float(self.log_evidence[n]), self.filters)
            for n in first.tolist()
        ]
        return tuple(lists), list_of

    def _table(self, score: Tensor) -> JointTable:
        return JointTable(self._likelihood, self._rows, score, self._log_p0, self._log_p1)


def pick_by_cdf(
    log_weight: Float[Tensor, "rows codebook_size"], uniform: Float64[Tensor, " rows"]
) -> Int64[Tensor, " rows"]:
    """Draw from unnormalised log weights by inverting the cumulative sum, in float64.

    An item of weight zero is never drawn. Each row needs a finite weight.
    """
    return _pick(log_weight, uniform[:, None])[:, 0]


def pick_by_weight(
    weight: Float[Tensor, "rows codebook_size"], uniform: Float64[Tensor, "rows draws"]
) -> Int64[Tensor, "rows draws"]:
    """As `pick_by_cdf` with weights that are not logs, and several draws from each row."""
    cumulative = weight.cumsum(1, dtype=torch.float64)
    target = uniform * cumulative[:, -1:]
    pick = torch.searchsorted(cumulative, target, right=True).clamp(max=weight.shape[1] - 1)
    # A parallel sum need not be monotone to the last bit, so that a gap could be hit.
    hit = weight.gather(1, pick) > 0
    if not bool(hit.all()):
        pick = torch.where(hit, pick, weight.argmax(1, keepdim=True))
    return pick


def _pick(
    log_weight: Float[Tensor, "rows codebook_size"], uniform: Float64[Tensor, "rows draws"]
) -> Int64[Tensor, "rows draws"]:
    log_weight = log_weight.double()
    weight = (log_weight - log_weight.amax(1, keepdim=True)).exp()
    return pick_by_weight(weight, uniform)
