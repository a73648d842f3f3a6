"""A selector weighs decoded candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from lqsep.core.interfaces.candidates import DecodedCandidates, Selection


class Selector(ABC):
    """Gives every candidate a weight per source."""

    @abstractmethod
    def select(
        self, decoded: DecodedCandidates, mixture: Float[Tensor, "channels samples"]
    ) -> Selection:
        """Weigh the candidates.

        Args:
            decoded: Candidates as sound; ``decoded.mixture`` is the codec's round trip.
            mixture: The segment itself at the codec's rate.
        """
