"""A likelihood says which joint codes explain a frame of the mixture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float, Int64
from torch import Tensor

if TYPE_CHECKING:
    from lqsep.core.interfaces.data import EncodedMixture
    from lqsep.core.interfaces.frame_likelihood import FrameLikelihood


class BoundLikelihood(ABC):
    """A likelihood bound to one encoded mixture, of any number of sources.

    `at` and `frames` list joint codes as pairs, rows of source 0 and columns of source 1: the exact
    form for two sources. `given` asks for one source at a time and serves any number.
    """

    n_frames: int
    uses_history: bool = False
    """Whether `at` looks at the history: no bound or exact sums over the sequence then."""
    can_adapt: bool = False
    """Whether `adapt` may give something."""
    warnings: tuple[str, ...] = ()
    """What a user should know of how it fits, one sentence each; a report has each once."""

    @abstractmethod
    def at(self, frame: int, history: Int64[Tensor, "rows sources frames"]) -> FrameLikelihood:
        """The likelihood of one frame's joint codes. Most ignore the history of codes so far."""

    def frames(self, start: int, stop: int) -> Float[Tensor, "frames K0 K1"] | None:
        """Log-likelihood of every pair, for small codebooks without history; None otherwise."""
        return None

    def given(
        self, source: int, codes: Int64[Tensor, "sources frames"]
    ) -> Float[Tensor, "frames codebook_size"] | None:
        """Log-likelihood of every code of one source, the others' codes being known.

        Args:
            source: Its index; what ``codes`` says of it is not looked at.
            codes: Of every source and frame.

        Returns:
            Up to a constant per frame; None where it cannot be told.
        """
        return None

    def adapt(
        self,
        marginals: Sequence[Float[Tensor, "chosen _codebook_size"]],
        frames: Int64[Tensor, " chosen"] | None = None,
    ) -> BoundLikelihood | None:
        """A likelihood fitted better to this mixture, from posterior marginals; None if fixed.

        Args:
            marginals: Per source.
            frames: Which frames' they are, rising; None: all of them.
        """
        return None

    def source_power(
        self, source: int, codes: Int64[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch bins frames"] | None:
        """Power spectrum that codes of one source stand for in this mixture; None without one.

        It is that of the source as it stands in the analysed mixture, gain and adaptation included,
        at `EncodedMixture.scale`. Bins are evenly spaced from 0 Hz to the codec's Nyquist
        frequency; frame ``t`` is centred on the middle of its samples, ``(t + 1/2) * hop_length``.

        Args:
            source: Its index.
            codes: Of any frames.
        """
        return None

    def adaptation_log_prior(self) -> float:
        """Log prior density of what `adapt` has chosen, less that of nothing adapted.

        Added to the log evidence it says whether an adaptation is worth it.
        """
        return 0.0


class Likelihood(ABC):
    """Knows the codec's vectors; `bind` adds the mixture."""

    @abstractmethod
    def bind(self, encoded: EncodedMixture, gains: Sequence[float]) -> BoundLikelihood:
        """Bind to one encoded segment; ``gains[i]`` is the linear factor of source ``i``.

        Raises:
            IncompatibleComponentsError: Number of sources or codes do not fit.
        """
