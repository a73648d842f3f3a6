"""A refiner post-processes the stems of one segment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from lqsep.core.interfaces.candidates import Candidates, DecodedCandidates, Selection
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.data import EncodedMixture, Mixture
from lqsep.core.interfaces.likelihood import BoundLikelihood


@dataclass(frozen=True)
class RefineContext:
    """All that is known when the stems of a segment have been decoded and selected.

    ``mixture`` has its own rate and channels; everything else is at the codec's. Its wave is what
    is heard: ``mixture.unheard`` is shared out among the stems in the end. ``bound`` is the
    likelihood that the candidates were inferred with in the end. It may have seen more frames than
    this segment's, in which it was adapted.
    """

    mixture: Mixture
    encoded: EncodedMixture
    bound: BoundLikelihood
    candidates: Candidates
    decoded: DecodedCandidates
    selection: Selection
    codec: Codec
    gains: tuple[float, ...]


class Refiner(ABC):
    """Takes and gives stems at the mixture's rate and channels."""

    needs_stems: bool = True
    """Whether it looks at the stems it is given. When the first refiner does not, it is given
    silence, and candidates that nobody else needs are not decoded."""

    @abstractmethod
    def refine(
        self, stems: Float[Tensor, "sources channels samples"], context: RefineContext
    ) -> Float[Tensor, "sources channels samples"]:
        """Better stems of the same shape."""
