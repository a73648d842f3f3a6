"""How large the evidence of a whole sequence can be, whatever codes are met on the way.

The importance weight of an ancestral draw is ``exp(sum over frames of log Z)``. Rejection sampling
needs a number that no weight exceeds. As priors sum to one, no frame's ``log Z`` exceeds its
largest log likelihood. Where the priors are Markov chains and the codebooks are small more can be
said: ``Z`` of a frame depends on the two codes before it only, ``Z = T0 exp(L) T1'`` for all of
them is two matrix products, and the largest entry is a bound that is reached.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lqsep.core.inference.filters import Filters, filter_table
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.inference.state import MarkovPosterior

# What the float32 tables and sums of one frame may lift its log Z above the exact value.
_ROUNDING = 1e-5

# Share of a frame's largest likelihood that the products may lose below the smallest float64.
_LOST = 1e-300

# Entries of the likelihood listed at a time: some tens of megabytes.
_ENTRIES_AT_ONCE = 1 << 22


def log_evidence_bound(posterior: SequencePosterior, filters: Filters) -> float:
    """Certified bound of ``log_evidence`` along any path, under the filters.

    Infinite, that is no bound, where the likelihood depends on the history; -inf where a frame is
    impossible. Filters of the joint codes only take pairs away: the bound without them holds.
    """
    simple = posterior.log_upper()
    if abs(simple) == float("inf"):
        return simple
    markov = posterior.markov()
    if markov is None:
        return simple
    return min(simple, _markov_bound(posterior, markov, filters))


def _markov_bound(posterior: SequencePosterior, markov: MarkovPosterior, filters: Filters) -> float:
    tables = [filter_table(table.double(), filters) for table in markov.log_transition]
    first = [filter_table(table.double()[None], filters) for table in markov.log_initial]
    if posterior.prompt is not None and posterior.prompt.shape[2]:
        # Every row of the prompt starts hypotheses of its own.
        last = posterior.prompt[:, :, -1]
        first = [table[torch.unique(last[:, source])] for source, table in enumerate(tables)]
    n0, n1 = (table.shape[1] for table in tables)
    step = max(1, _ENTRIES_AT_ONCE // (n0 * n1))
    total = 0.0
    for start in range(0, markov.n_frames, step):
        stop = min(start + step, markov.n_frames)
        values = markov.log_likelihood(start, stop).double()
        for frame, value in enumerate(values, start):
            log_p0, log_p1 = tables if frame else first
            total += _largest(log_p0, log_p1, value) + _ROUNDING
    return total


def _largest(
    log_p0: Float64[Tensor, "rows0 K0"],
    log_p1: Float64[Tensor, "rows1 K1"],
    log_likelihood: Float[Tensor, "K0 K1"],
) -> float:
    """``max`` over all pairs of rows of ``log sum_ij exp(log_p0 + log_p1 + log_likelihood)``."""
    upper = log_likelihood.max()
    if upper == float("-inf"):
        return float("-inf")
    sums = log_p0.exp() @ (log_likelihood - upper).exp() @ log_p1.exp().T
    return float(upper + torch.log(sums.max() + _LOST))
