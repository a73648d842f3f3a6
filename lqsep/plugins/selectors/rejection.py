"""All combinations of candidates, weighed by their priors and by how well their sum fits."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.inference.joint_scores import joint_scores
from lqsep.core.interfaces.candidates import DecodedCandidates, Selection
from lqsep.core.interfaces.selector import Selector


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
        return Selection(weights, values, scores)
