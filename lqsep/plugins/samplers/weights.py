"""Weighted draws: how many they are worth, and drawing from them again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lqsep.core.interfaces.candidates import Candidates


def effective_sample_size(log_weight: Float64[Tensor, "*sets draws"]) -> Float64[Tensor, "*sets"]:
    """``(sum w)^2 / sum w^2`` of each set of draws; 0 where all weights are zero.

    As many equally weighted draws have about the same variance. Reference: Kong, Liu and Wong
    1994, "Sequential imputations and Bayesian missing data problems", section 4.1.
    """
    size = (2 * log_weight.logsumexp(-1) - (2 * log_weight).logsumexp(-1)).exp()
    return size.nan_to_num(nan=0.0)


def systematic(
    log_weight: Float64[Tensor, "sets draws"], n: int, uniform: Float64[Tensor, " sets"]
) -> Int64[Tensor, "sets n"]:
    """Draw ``n`` of each set with replacement, by weight: systematic resampling.

    A draw of normalised weight ``w`` comes out ``n w`` times on average, and never more than one
    time off that. One of weight zero never comes out.

    Args:
        log_weight: Unnormalised; each set has a finite one.
        n: Number of draws.
        uniform: One number in [0, 1) per set.

    Returns:
        Places in the set, ascending.

    Reference: Kitagawa 1996, "Monte Carlo filter and smoother for non-Gaussian nonlinear state
    space models", appendix.
    """
    cumulative = (log_weight - log_weight.amax(1, keepdim=True)).exp().cumsum(1)
    steps = torch.arange(n, dtype=torch.float64, device=log_weight.device)
    targets = (steps + uniform[:, None].to(log_weight)) / n * cumulative[:, -1:]
    # The last draw with a weight, for a target that rounding lifts to the total.
    last = (cumulative < cumulative[:, -1:]).sum(1, keepdim=True)
    return torch.searchsorted(cumulative, targets, right=True).minimum(last)


def equally_weighted(
    draws: Candidates,
    order: Int64[Tensor, " candidates"],
    log_evidence: float,
    diagnostics: Mapping[str, float],
    warnings: tuple[str, ...] = (),
) -> Candidates:
    """Candidates that follow the posterior as they stand, picked from weighted draws.

    Their weights are spent: every candidate carries the same ``log_evidence``, the estimate of the
    whole mixture's, so that weighing by it does not weigh twice. The probability of picking a
    sequence is not known, so that there is no ``log_proposal``.
    """
    return Candidates(
        codes=draws.codes[:, order],
        log_prior=draws.log_prior[:, order],
        log_likelihood=draws.log_likelihood[order],
        log_evidence=torch.full_like(draws.log_likelihood[order], log_evidence),
        diagnostics={**diagnostics, "log_evidence": log_evidence},
        warnings=warnings,
    )
