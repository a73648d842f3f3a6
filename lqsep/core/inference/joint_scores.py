"""All combinations of candidates, scored by their priors and by how well their sum fits."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.interfaces.candidates import DecodedCandidates, JointScores

# Combinations listed at most: 128 MB in float64. 64 candidates of four sources, 256 of three.
_MOST_COMBINATIONS = 1 << 24

# Samples taken into a product of waves at a time.
_BLOCK = 1 << 15


def joint_scores(decoded: DecodedCandidates) -> JointScores:
    """Scores of all combinations of candidates, in float64.

    Raises:
        IncompatibleComponentsError: There are too many combinations to list.
    """
    n_sources, n_candidates = decoded.waves.shape[:2]
    if n_candidates**n_sources > _MOST_COMBINATIONS:
        raise IncompatibleComponentsError(
            f"selector 'rejection' lists all combinations: {n_candidates} candidates of "
            f"{n_sources} sources are more than {_MOST_COMBINATIONS}. Ask for fewer candidates or "
            "use selector 'mean' or 'best'."
        )
    n_frames = max(1, decoded.candidates.codes.shape[-1])
    per_frame = decoded.candidates.log_prior.to(decoded.waves.device).double() / n_frames
    log_prior = _outer_sum(per_frame)
    error = _errors(decoded)
    supported = log_prior > -math.inf
    if not supported.any():
        log_prior, supported = torch.zeros_like(log_prior), ~supported
    mean_prior = log_prior[supported].mean()
    if mean_prior == 0:  # certain priors: nothing to match, and any scale orders by error
        mean_prior = mean_prior - 1
    mean_error = error.mean()
    # -error / (2 sigma^2) with the variance inserted; no error at all leaves the prior alone.
    relative = error / mean_error if mean_error > 0 else torch.zeros_like(error)
    log_posterior = log_prior + mean_prior * relative
    flat = log_posterior.flatten().log_softmax(0)
    return JointScores(
        error=error,
        log_prior=log_prior,
        sigma=float((mean_error / (-2 * mean_prior)).sqrt()),
        log_posterior=flat.view(log_posterior.shape),
    )


def _outer_sum(values: Float64[Tensor, "sources candidates"]) -> Tensor:
    """``result[i, j, ...] = values[0, i] + values[1, j] + ...``"""
    result = values[0]
    for row in values[1:]:
        result = result[..., None] + row
    return result


def _errors(decoded: DecodedCandidates) -> Tensor:
    """Squared distance of every combination's sum to the mixture, from inner products only.

    With ``u`` the weighted waves of a combination and ``m`` the mixture,
    ``|sum_s u_s - m|^2 = sum_s (|u_s|^2 - 2 u_s.m) + 2 sum_{s<t} u_s.u_t + |m|^2``: products of
    single candidates, not of their combinations. In float64 the cancellation does no harm.
    """
    n_sources, n_candidates = decoded.waves.shape[:2]
    gains = torch.tensor(decoded.gains, dtype=torch.float64, device=decoded.waves.device)
    waves = decoded.waves.flatten(2)
    mixture = decoded.mixture.flatten()
    product = gains.new_zeros(n_sources * n_candidates + 1, n_sources * n_candidates + 1)
    for start in range(0, waves.shape[2], _BLOCK):
        block = waves[:, :, start : start + _BLOCK].double() * gains[:, None, None]
        target = mixture[start : start + _BLOCK].double()
        rows = torch.cat([block.flatten(0, 1), target[None]])
        product += rows @ rows.T
    single = (product.diagonal() - 2 * product[-1])[:-1].view(n_sources, n_candidates)
    error = _outer_sum(single) + product[-1, -1]
    table = product[:-1, :-1].view(n_sources, n_candidates, n_sources, n_candidates)
    for first in range(n_sources):
        for second in range(first + 1, n_sources):
            shape = [1] * n_sources
            shape[first] = shape[second] = n_candidates
            error = error + 2 * table[first, :, second].reshape(shape)
    return error.clamp(min=0)
