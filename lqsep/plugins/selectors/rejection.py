"""All combinations of candidates, weighed by their priors and by how well their sum fits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.interfaces.candidates import DecodedCandidates, Selection
from lqsep.core.interfaces.selector import Selector

# Combinations listed at most: 128 MB in float64. 64 candidates of four sources, 256 of three.
_MOST_COMBINATIONS = 1 << 24

# Samples taken into a product of waves at a time.
_BLOCK = 1 << 15


@dataclass(frozen=True)
class JointScores:
    """Scores of every combination; one axis per source, each as long as there are candidates.

    Args:
        error: Squared distance between the combination's sum and the mixture.
        log_prior: Mean log prior per frame, all sources together, before normalising.
        sigma: Standard deviation of the error, from moment matching.
        log_posterior: Normalised over all combinations.
    """

    error: Tensor
    log_prior: Tensor
    sigma: float
    log_posterior: Tensor

    def marginal(self, source: int) -> Float64[Tensor, " candidates"]:
        """Posterior probability of every candidate of one source."""
        others = [axis for axis in range(self.log_posterior.ndim) if axis != source]
        return self.log_posterior.exp().sum(others) if others else self.log_posterior.exp()


class RejectionSelector(Selector):
    """Picks one candidate per source, the candidates of different sources combined freely.

    A combination's log prior is the sum of its sources' log priors, per frame. Its error is the
    squared distance of its weighted sum to the codec's round trip of the mixture. The variance is
    chosen such that the mean log likelihood equals the mean log prior::

        sigma^2 = -mean(error) / (2 mean(log_prior))
        posterior = softmax(log_softmax(log_prior) - error / (2 sigma^2))

    Args:
        mode: ``marginal`` picks each source's candidate of the highest marginal posterior,
            ``pair`` the best combination.

    Reference: Mancusi et al. 2021, arXiv:2110.05313, "rejection sampling" of the decoded results.
    """

    def __init__(self, mode: Literal["marginal", "pair"] = "marginal") -> None:
        self._mode = mode

    def select(
        self, decoded: DecodedCandidates, mixture: Float[Tensor, "channels samples"]
    ) -> Selection:
        """Weigh the candidates; see the class.

        Raises:
            IncompatibleComponentsError: There are too many combinations to list.
        """
        n_sources, n_candidates = decoded.waves.shape[:2]
        scores = joint_scores(decoded)
        marginals = torch.stack([scores.marginal(source) for source in range(n_sources)])
        if self._mode == "marginal":
            picks = tuple(int(pick) for pick in marginals.argmax(1))
        else:
            flat = int(scores.log_posterior.argmax())
            picks = tuple(flat // n_candidates**i % n_candidates for i in range(n_sources))[::-1]
        weights = decoded.waves.new_zeros(n_sources, n_candidates)
        weights[range(n_sources), picks] = 1
        values = {
            "sigma": scores.sigma,
            "error": float(scores.error[picks]),
            "joint_probability": float(scores.log_posterior[picks].exp()),
        }
        for source, pick in enumerate(picks):
            values[f"probability_{source}"] = float(marginals[source, pick])
        return Selection(weights, values)


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
