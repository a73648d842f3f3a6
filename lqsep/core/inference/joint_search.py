"""The best pairs of codes of one frame, over all hypotheses, without listing every pair.

A threshold algorithm: a row is one hypothesis ``n`` with one code ``i`` of source 0, and no pair
in it scores above ``score_n + a_ni + max_j b_nj + max_j L_ij``. Rows are visited from the largest
bound down, each evaluated whole, until no bound is above the worst value that would be kept. The
stopping rule is the proof: the result equals that of a search through all pairs.

Sums are float64 and formed in the same order in the bound and in the value, so that rounding, being
monotone, cannot lift a value above its bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lqsep.core.inference.filters import Filters
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood

# Pairs evaluated at once: 256 rows of a codebook of 2048, 4 MB in float64; and at first.
_PAIRS_AT_ONCE, _PAIRS_AT_FIRST = 2**19, 2**16

# How many pairs the search for a joint top-p asks for at first, and how much faster it grows.
_FIRST_PAIRS, _GROWTH = 256, 8


@dataclass(frozen=True)
class Pairs:
    """Scored joint codes, best first; equal scores in the order of row and codes.

    Args:
        score: ``score_n + log p0 + log p1 + log L``.
        rows: Hypothesis of each.
        codes: Source 0, source 1.
    """

    score: Float64[Tensor, " pairs"]
    rows: Int64[Tensor, " pairs"]
    codes: Int64[Tensor, "pairs 2"]

    def __len__(self) -> int:
        return int(self.score.shape[0])


@dataclass(frozen=True)
class JointTable:
    """What is needed to score the pairs of one frame.

    Args:
        likelihood: Of the frame.
        hypotheses: Their index in the likelihood.
        score: Of each hypothesis so far; -inf excludes it.
        log_p0: Prior table of source 0, may hold -inf.
        log_p1: Prior table of source 1, may hold -inf.
    """

    likelihood: FrameLikelihood
    hypotheses: Int64[Tensor, " rows"]
    score: Float64[Tensor, " rows"]
    log_p0: Float64[Tensor, "rows K0"]
    log_p1: Float64[Tensor, "rows K1"]

    def row(self, index: int) -> JointTable:
        """The table of a single hypothesis."""
        one = slice(index, index + 1)
        return JointTable(
            self.likelihood,
            self.hypotheses[one],
            self.score[one],
            self.log_p0[one],
            self.log_p1[one],
        )

    def best(self, k: int) -> Pairs:
        """The ``k`` best pairs over all rows; fewer when fewer are possible.

        Which of several pairs equal to the last one is kept is not defined.
        """
        bound = self._bounds()
        # A few rows mostly settle it, or else say which of the others are worth a look.
        first = bound.topk(min(self._rows_of(_PAIRS_AT_FIRST), len(bound)))
        found = _Best(k, self.score)
        self._visit(found, first.indices, first.values)
        bound = bound.index_fill(0, first.indices, float("-inf"))
        rest = (bound > found.threshold).nonzero()[:, 0]
        ordered = bound[rest].sort(descending=True)
        self._visit(found, rest[ordered.indices], ordered.values)
        return self._pairs(found.values, found.places)

    def above(self, threshold: float) -> Pairs:
        """Every possible pair that scores ``threshold`` or more."""
        bound = self._bounds()
        rows = ((bound >= threshold) & (bound > float("-inf"))).nonzero()[:, 0]
        values, places = [self.score.new_zeros(0)], [self.hypotheses.new_zeros(0)]
        size = self._rows_of(_PAIRS_AT_ONCE)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            scores = self._evaluate(part)
            at = ((scores >= threshold) & (scores > float("-inf"))).nonzero()
            values.append(scores[at[:, 0], at[:, 1]])
            places.append(part[at[:, 0]] * self.log_p1.shape[1] + at[:, 1])
        return self._pairs(torch.cat(values), torch.cat(places))

    def _bounds(self) -> Float64[Tensor, " flat_rows"]:
        """Of every row ``n * K0 + i``, summed in the order of `_evaluate`."""
        bound = (self.score[:, None] + self.log_p0) + self.log_p1.amax(1, keepdim=True)
        return (bound + self.likelihood.row_upper()[self._likelihood_rows()]).flatten()

    def _visit(self, found: _Best, rows: Tensor, bound: Tensor) -> None:
        """Go through rows in the order of their bounds until none can hold a better pair."""
        size = self._rows_of(_PAIRS_AT_ONCE)
        for start in range(0, len(rows), size):
            if float(bound[start]) <= found.threshold:
                return
            part = rows[start : start + size]
            scores = self._evaluate(part)
            largest = scores.amax(1)
            lowest = found.lowest_worth_adding(largest)
            worth = largest >= lowest
            part, scores = part[worth], scores[worth]
            at = (scores >= lowest).nonzero()
            found.add(scores[at[:, 0], at[:, 1]], part[at[:, 0]] * self.log_p1.shape[1] + at[:, 1])

    def _rows_of(self, n_pairs: int) -> int:
        return max(1, n_pairs // self.log_p1.shape[1])

    def _likelihood_rows(self) -> Tensor:
        return self.hypotheses.clamp(max=self.likelihood.n_rows - 1)

    def _evaluate(self, rows: Tensor) -> Tensor:
        n_codes = self.log_p0.shape[1]
        n, i = rows // n_codes, rows % n_codes
        scores = self.log_p1[n].add_((self.score[n] + self.log_p0[n, i])[:, None])
        return scores.add_(self.likelihood.rows(self.hypotheses[n], i))

    def _pairs(self, values: Tensor, places: Tensor) -> Pairs:
        places, order = places.sort()
        values, by_score = values[order].sort(descending=True, stable=True)
        places = places[by_score]
        n_codes = self.log_p0.shape[1], self.log_p1.shape[1]
        rows, pair = places // (n_codes[0] * n_codes[1]), places % (n_codes[0] * n_codes[1])
        codes = torch.stack([pair // n_codes[1], pair % n_codes[1]], dim=1)
        return Pairs(values, rows, codes)


class _Best:
    """The ``k`` best scores met so far; ``threshold`` is the lowest once there are ``k``."""

    def __init__(self, k: int, like: Float64[Tensor, " rows"]) -> None:
        self.k = k
        self.values = like.new_zeros(0)
        self.places = torch.zeros(0, dtype=torch.int64, device=like.device)
        self.threshold = float("-inf")

    def lowest_worth_adding(self, largest: Float64[Tensor, " visited"]) -> float:
        """Of rows with these largest scores; lower ones are not among the ``k`` best."""
        # Above the threshold, so that what equals it, impossible scores above all, stays out.
        lowest = math.nextafter(self.threshold, math.inf)
        if len(largest) >= self.k:
            # The largest ones are k scores or more: nothing below the k-th of them counts.
            lowest = max(lowest, float(largest.topk(self.k).values[-1]))
        return lowest

    def add(self, values: Float64[Tensor, " found"], places: Int64[Tensor, " found"]) -> None:
        self.values = torch.cat([self.values, values])
        self.places = torch.cat([self.places, places])
        if len(self.values) > self.k:
            self.values, order = self.values.topk(self.k)
            self.places = self.places[order]
        if len(self.values) == self.k:
            self.threshold = float(self.values.min())


def pairs_kept(table: JointTable, log_evidence: float, filters: Filters) -> Pairs:
    """The pairs that the joint filters leave to one hypothesis: top-k first, then top-p of those.

    Args:
        table: Of a single hypothesis with score 0.
        log_evidence: Log of the sum of ``exp(score)`` over all pairs.
        filters: The joint ones are applied.
    """
    if filters.joint_top_k > 0:
        best = table.best(filters.joint_top_k)
        kept = table.above(_just_below(best.score[-1])) if len(best) else best
        if filters.joint_top_p == 1 or not len(kept):
            return kept
        crossing = _crossing(kept.score, float(kept.score.logsumexp(0)), filters.joint_top_p)
        lowest = _just_below(kept.score[min(crossing, len(kept) - 1)])
        n_kept = int((kept.score >= lowest).sum())
        return Pairs(kept.score[:n_kept], kept.rows[:n_kept], kept.codes[:n_kept])
    n_pairs = _FIRST_PAIRS
    while True:
        best = table.best(n_pairs)
        crossing = _crossing(best.score, log_evidence, filters.joint_top_p)
        if crossing < len(best):
            return table.above(_just_below(best.score[crossing]))
        if len(best) < n_pairs:
            return best
        n_pairs *= _GROWTH


def _just_below(score: Tensor) -> float:
    """Keeps a score that comes out a rounding error lower when it is computed again."""
    return float(score) - 1e-12 * (1 + abs(float(score)))


def _crossing(score: Tensor, log_total: float, top_p: float) -> int:
    """Place of the first score at which the sum reaches ``top_p`` of the total; may be past all."""
    reached = (score - log_total).exp().cumsum(0) >= top_p
    return int(reached.int().argmax()) if bool(reached.any()) else len(score)
