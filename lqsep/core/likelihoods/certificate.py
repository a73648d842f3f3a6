"""Sums over the rows of a likelihood by matrix product, certified against underflow.

``log sum_j exp(b_j + L_ij)`` for all i and many hypotheses is one matrix product of scaled
exponentials. Scaled so that the largest is one, the small ones underflow, and where prior and
likelihood disagree those are all there is. What a row can lose is bounded beforehand: with
``q = exp(b - max b) <= 1`` and ``E = exp(L - upper) <= 1``, each of the K terms loses at most
three times the smallest normal number: in q, in E, and in their product. (A term given as the sum
of two such products loses twice that.) Hypotheses where the bound matters are done again in
float64, and rows where it still does in the log domain.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from lqsep.core.interfaces.frame_likelihood import FrameLikelihood

# Share of a hypothesis's evidence that underflow may take; well below float32's own rounding of
# a sum over thousands of terms.
_LOST_SHARE = 1e-6

# Smallest normal numbers that one term may lose; see above.
_LOST_PER_TERM = 6

# Values (rows times codes) handled at a time in the log domain: some tens of megabytes.
_REPAIR_VALUES = 1 << 20

ScaledSums = Callable[[Tensor, Tensor], Tensor]
"""``f(n, weights)``: for hypotheses ``n`` and their ``weights [len(n), K1]`` the sums
``sum_j weights[m, j] exp(log L_n[m][i, j] - upper_n[m])``, ``[len(n), K0]``, in the weights' dtype.
"""


def certified_row_logsum(
    likelihood: FrameLikelihood,
    scaled_sums: ScaledSums,
    log_p0: Float[Tensor, "hypotheses K0"],
    log_p1: Float[Tensor, "hypotheses K1"],
    row_scale: Float64[Tensor, "_n_rows K0"] | None = None,
) -> Float64[Tensor, "hypotheses K0"]:
    """`FrameLikelihood.row_logsum` from a matrix product that may underflow.

    Args:
        likelihood: Gives ``upper``, ``row_upper`` and exact ``rows``.
        scaled_sums: The matrix product; see `ScaledSums`.
        log_p0: Weight of each row, natural log.
        log_p1: Weight of each column, natural log.
        row_scale: What `ScaledSums` takes from each row's values in place of ``upper``: at least
            their maximum, where that is finite.

    Returns:
        ``log sum_j exp(log_p1 + log L)``. Underflow takes at most 1e-6 of the sum of
        ``exp(log_p0 + result)`` from it.
    """
    log_p0, log_p1 = log_p0.double(), log_p1.double()
    peak = log_p1.amax(1)
    peak = torch.where(peak.isfinite(), peak, 0.0)
    scale = peak[:, None] + (likelihood.upper[:, None] if row_scale is None else row_scale)
    result = torch.empty_like(log_p0)
    pending = torch.arange(len(log_p0), device=log_p0.device)
    for dtype in (torch.float32, torch.float64):
        weights = (log_p1[pending] - peak[pending, None]).exp().to(dtype)
        sums = scaled_sums(pending, weights).double()
        result[pending] = sums.log() + scale[pending]
        doubtful = _doubtful(
            likelihood, pending, log_p0[pending], log_p1[pending], scale[pending], result[pending],
            torch.finfo(dtype).tiny,
        )  # fmt: skip
        kept = doubtful.any(1)
        pending, doubtful = pending[kept], doubtful[kept]
        if not len(pending):
            return result
    m, i = doubtful.nonzero(as_tuple=True)
    n = pending[m]
    step = max(1, _REPAIR_VALUES // log_p1.shape[1])
    for start in range(0, len(n), step):
        part = slice(start, start + step)
        values = likelihood.rows(n[part], i[part]) + log_p1[n[part]]
        result[n[part], i[part]] = values.logsumexp(1)
    return result


def _doubtful(
    likelihood: FrameLikelihood,
    n: Tensor,
    log_p0: Tensor,
    log_p1: Tensor,
    scale: Tensor,
    result: Tensor,
    tiny: float,
) -> Bool[Tensor, "hypotheses K0"]:
    """Rows that may have lost more than their part of the allowed share."""
    doubtful = underflow_matters(log_p0, scale, result, log_p1.shape[1], tiny)
    if doubtful.any():
        allowed = _allowed(log_p0, result)
        # A row too improbable to matter even if it were lost as a whole needs no repair. Its
        # bound is only asked for here because for a sum table it costs as much as the product.
        row_upper = likelihood.row_upper()
        if likelihood.n_rows > 1:
            row_upper = row_upper[n]
        doubtful &= log_p0 + row_upper + log_p1.logsumexp(1, keepdim=True) > allowed
    return doubtful


def underflow_matters(
    log_p0: Float[Tensor, "hypotheses K0"],
    scale: Float64[Tensor, "hypotheses _scales"],
    result: Float64[Tensor, "hypotheses K0"],
    n_columns: int,
    tiny: float,
) -> Bool[Tensor, "hypotheses K0"]:
    """Rows whose sum may have lost more than their part of the allowed share.

    Args:
        log_p0: Weight of each row, natural log.
        scale: What the factors of each sum were scaled by, natural log.
        result: The sums, natural log.
        n_columns: Terms of a sum.
        tiny: Smallest normal number of the arithmetic.
    """
    return log_p0 + scale + math.log(_LOST_PER_TERM * n_columns * tiny) > _allowed(log_p0, result)


def _allowed(log_p0: Tensor, result: Tensor) -> Float64[Tensor, "hypotheses 1"]:
    """What one row may lose."""
    share = math.log(_LOST_SHARE / log_p0.shape[1])
    return (log_p0 + result).logsumexp(1, keepdim=True) + share
