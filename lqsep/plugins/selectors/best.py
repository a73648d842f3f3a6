"""The most probable candidate."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.interfaces.candidates import DecodedCandidates, Selection
from lqsep.core.interfaces.selector import Selector


class BestSelector(Selector):
    """Picks, for all sources together, the candidate with the highest log posterior."""

    def select(
        self, decoded: DecodedCandidates, mixture: Float[Tensor, "channels samples"]
    ) -> Selection:
        log_posterior = decoded.candidates.log_posterior
        # A candidate without a score is never the best.
        best = int(log_posterior.nan_to_num(nan=-torch.inf, neginf=-torch.inf).argmax())
        shape = (len(decoded.gains), len(log_posterior))
        weights = decoded.mixture.new_zeros(shape)
        weights[:, best] = 1
        return Selection(weights, _finite({"log_posterior": float(log_posterior[best])}))


def _finite(scores: dict[str, float]) -> dict[str, float]:
    return {name: score for name, score in scores.items() if abs(score) < float("inf")}
