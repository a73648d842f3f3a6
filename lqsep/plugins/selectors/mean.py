"""The mean over all candidates."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.interfaces.candidates import DecodedCandidates, Selection
from lqsep.core.interfaces.selector import Selector


class MeanSelector(Selector):
    """Estimates the posterior mean of the sources.

    Args:
        weighting: ``uniform`` is right for draws from the posterior of whole sequences (exact
            samplers, resampled particles) and the plain choice elsewhere. ``evidence`` weighs by
            ``softmax(log_evidence)``: self-normalised importance weights of draws that were made
            frame by frame, each from its own posterior given the past.

    Reference: Robert and Casella 2004, "Monte Carlo Statistical Methods", section 3.3.
    """

    def __init__(self, weighting: Literal["uniform", "evidence"] = "uniform") -> None:
        self._weighting = weighting

    def select(
        self, decoded: DecodedCandidates, mixture: Float[Tensor, "channels samples"]
    ) -> Selection:
        log_weights = decoded.candidates.log_evidence.double()
        if self._weighting == "uniform" or not bool((log_weights > -torch.inf).any()):
            log_weights = torch.zeros_like(log_weights)
        weights = log_weights.softmax(0)
        return Selection(
            weights.to(decoded.mixture).expand(len(decoded.gains), -1),
            {"effective_candidates": float(1 / weights.square().sum())},
        )
