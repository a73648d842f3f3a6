"""What smoothing gives, and what its ways have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from lqsep.core.errors import EmptySupportError
from lqsep.core.inference.state import MarkovPosterior
from lqsep.core.interfaces.candidates import FrameScores


@dataclass(frozen=True)
class Pruning:
    """What a pruned pass has looked at, and what the rest may weigh.

    Args:
        kept: Per source, which codes; every pair of them was looked at.
        lost: A bound, frame by frame: what the sequences that leave the kept pairs in this frame
            and in no other would add to the evidence, as a share of it.
        whole: Frames that keep every pair, as too much may have been lost without.
    """

    kept: tuple[Bool[Tensor, "frames K0"], Bool[Tensor, "frames K1"]]
    lost: Float64[Tensor, " frames"]
    whole: frozenset[int]

    @property
    def n_pairs(self) -> Int64[Tensor, " frames"]:
        """How many pairs were looked at."""
        return self.kept[0].sum(1) * self.kept[1].sum(1)

    @property
    def n_all_pairs(self) -> int:
        """How many a frame has."""
        return self.kept[0].shape[1] * self.kept[1].shape[1]


@dataclass(frozen=True)
class Smoothed:
    """What the whole sequence says.

    Args:
        log_evidence: ``log p(mixture)``, up to the likelihood's constant.
        marginals: Per source, probability of every code given the whole mixture, float32.
        codes: Independent draws from the posterior of whole sequences.
        scores: Of the draws, frame by frame.
        pruning: None where every pair was looked at. Else all of the above is that of the sequences
            whose codes are kept at every frame; the evidence is then a lower bound.
    """

    log_evidence: float
    marginals: tuple[Float[Tensor, "frames _codebook_size"], ...]
    codes: Int64[Tensor, "sources draws frames"]
    scores: FrameScores
    pruning: Pruning | None = None

    @property
    def log_prior(self) -> Float64[Tensor, "sources draws"]:
        """Of the draws."""
        return self.scores.log_prior.sum(2)

    @property
    def log_likelihood(self) -> Float64[Tensor, " draws"]:
        """Of the draws."""
        return self.scores.log_likelihood.sum(1)


def frame_scores(
    markov: MarkovPosterior,
    codes: Int64[Tensor, "sources draws frames"],
    log_likelihood: Float64[Tensor, "draws frames"],
    log_evidence: Float64[Tensor, " frames"],
) -> FrameScores:
    """Scores of draws, with the chains' part looked up."""
    log_prior = []
    for source, drawn in enumerate(codes):
        first = markov.log_initial[source].double()[drawn[:, :1]]
        rest = markov.log_transition[source].double()[drawn[:, :-1], drawn[:, 1:]]
        log_prior.append(torch.cat([first, rest], 1))
    return FrameScores(torch.stack(log_prior), log_likelihood, log_evidence)


def check_support(log_evidence: Float64[Tensor, " frames"]) -> None:
    """Refuse sequences with a frame that has nothing.

    Raises:
        EmptySupportError: Names the first one.
    """
    empty = (log_evidence == -torch.inf).nonzero()
    if len(empty):
        raise EmptySupportError(
            f"no joint code is possible at frame {int(empty[0])}: the priors and the "
            "likelihood exclude all of them. Use a likelihood with a floor, or priors that "
            "leave nothing impossible."
        )
