"""What a posterior gives and carries: draws, running hypotheses, the Markov case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.core.inference.frame_distribution import FrameDistribution
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.interfaces.prior import PriorState


@dataclass(frozen=True)
class Draw:
    """Joint codes with which hypotheses go on for one frame, and all that `extend` accounts for.

    Args:
        rows: The hypothesis that each continues; None: all of them, in order.
        codes: Joint codes of the frame.
        log_prior: Of each source's code, without filters.
        log_likelihood: Of the joint codes.
        log_evidence: ``log Z`` of the frame under the filtered priors, the log of the sum over
            every pair that the filters leave; ``log p(mixture frame | past)`` when nothing is
            filtered.
        log_proposal: Log-probability of drawing these codes under the filters.
        score: Filtered log prior plus log likelihood.
    """

    rows: Int64[Tensor, " chosen"] | None
    codes: Int64[Tensor, "chosen sources"]
    log_prior: Float64[Tensor, "sources chosen"]
    log_likelihood: Float64[Tensor, " chosen"]
    log_evidence: Float64[Tensor, " chosen"]
    log_proposal: Float64[Tensor, " chosen"]
    score: Float64[Tensor, " chosen"]


@dataclass(frozen=True)
class MarkovPosterior:
    """A posterior whose priors are first-order Markov chains and whose likelihood has no memory.

    Args:
        n_frames: Length.
        log_initial: Per source, of the first frame's code (given the prompt, if there is one).
        log_transition: Per source, ``[from, to]``.
        log_likelihood: ``log_likelihood(start, stop)`` gives ``frames K0 K1``.
    """

    n_frames: int
    log_initial: tuple[Float[Tensor, " _codebook_size"], ...]
    log_transition: tuple[Float[Tensor, "_codebook_size _codebook_size"], ...]
    log_likelihood: Callable[[int, int], Float[Tensor, "frames K0 K1"]]


@dataclass
class PosteriorState:
    """Parallel hypotheses up to ``frame``. `SequencePosterior.extend` consumes it.

    Args:
        frame: Next frame; equal to the posterior's ``n_frames`` when all are done.
        codes: Prompt and frames; what lies ahead is undefined.
        n_prompt: Frames of the prompt at the start of ``codes``.
        tables: Per source, unfiltered log-probabilities of the next frame; none when done.
        likelihood: Of the next frame; None when done.
        log_prior: Running, without filters (the reference system sums the filtered ones).
        log_likelihood: Running.
        log_evidence: Running sum of log Z, under the filters met.
        log_proposal: Running log-probability of drawing these codes one by one under the filters
            met.
        score: Running; log prior under the filters met plus log likelihood. What `top` ranks by.
    """

    frame: int
    codes: Int64[Tensor, "rows sources frames"]
    n_prompt: int
    tables: tuple[Float[Tensor, "rows _codebook_size"], ...]
    likelihood: FrameLikelihood | None
    log_prior: Float64[Tensor, "sources rows"]
    log_likelihood: Float64[Tensor, " rows"]
    log_evidence: Float64[Tensor, " rows"]
    log_proposal: Float64[Tensor, " rows"]
    score: Float64[Tensor, " rows"]
    _prior_states: list[PriorState] = field(repr=False)
    _windows: list[int] = field(repr=False)
    _distribution: FrameDistribution | None = field(default=None, repr=False)

    @property
    def n_rows(self) -> int:
        """Number of hypotheses."""
        return int(self.codes.shape[0])

    @property
    def history(self) -> Int64[Tensor, "rows sources frames"]:
        """Codes of the frames so far, without the prompt."""
        return self.codes[:, :, self.n_prompt : self.n_prompt + self.frame]
