"""What inference gives: candidates with their scores, as codes, as sound, and weighed.

Axis names as in `lqsep.core.interfaces.data`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.core.interfaces.likelihood import BoundLikelihood

Decode = Callable[[Tensor], Tensor]
"""``decode(rows)``: the waves of some candidates, ``sources chosen channels samples``."""


@dataclass(frozen=True)
class FrameScores:
    """What candidates' scores are made of, frame by frame, in float64.

    Args:
        log_prior: Of each source's code given the one before it.
        log_likelihood: Of the pair of codes.
        log_evidence: ``log p(mixture frame | mixture frames before it)``.
    """

    log_prior: Float64[Tensor, "sources candidates frames"]
    log_likelihood: Float64[Tensor, "candidates frames"]
    log_evidence: Float64[Tensor, " frames"]

    def between(self, start: int, stop: int) -> FrameScores:
        """Of some frames."""
        part = slice(start, stop)
        return FrameScores(
            self.log_prior[..., part], self.log_likelihood[:, part], self.log_evidence[part]
        )


@dataclass(frozen=True)
class Candidates:
    """Finished joint hypotheses of a segment, best or first drawn first.

    Args:
        codes: ``sources candidates frames``.
        log_prior: Log-probability of each source's codes under its own prior, natural log, no
            filtering or temperature applied; ``sources candidates``.
        log_likelihood: Of the joint codes, unnormalised; ``candidates``.
        log_evidence: Sum over frames of ``log p(mixture frame | past codes)``, as the sampler met
            it; ``candidates``.
        log_proposal: Log-probability with which the sampler drew the joint codes, ``candidates``;
            None for samplers that do not draw.
        marginals: Exact posterior marginals per source, ``frames codebook_size``, from samplers
            that have them.
        diagnostics: What the sampler reports of its work by name, such as
            ``effective_sample_size`` or ``acceptance``.
        warnings: What a user should know of how these were drawn; one sentence each.
        frame_scores: What the scores are made of, from samplers that know it.
        bound: The likelihood that the scores are of, from samplers that adapted it; None: the
            posterior's own.
        whole_log_posterior: Of the whole sequences, where these are only some of their frames.
    """

    codes: Int64[Tensor, "sources candidates frames"]
    log_prior: Float[Tensor, "sources candidates"]
    log_likelihood: Float[Tensor, " candidates"]
    log_evidence: Float[Tensor, " candidates"]
    log_proposal: Float[Tensor, " candidates"] | None = None
    marginals: tuple[Float[Tensor, "frames _codebook_size"], ...] | None = None
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    frame_scores: FrameScores | None = None
    bound: BoundLikelihood | None = None
    whole_log_posterior: Float[Tensor, " candidates"] | None = None

    @property
    def n_candidates(self) -> int:
        return int(self.codes.shape[1])

    @property
    def log_posterior(self) -> Float[Tensor, " candidates"]:
        """Unnormalised: log prior of every source plus log likelihood."""
        return self.log_prior.sum(0) + self.log_likelihood

    def between(self, start: int, stop: int) -> Candidates:
        """Some of the frames: codes, scores and marginals are theirs, diagnostics stay.

        Scores are given what came before: they add up over consecutive stretches. Warnings go with
        the first frame.

        Raises:
            ValueError: The sampler gave no scores by frame, or there are no such frames.
        """
        if self.frame_scores is None or not 0 <= start < stop <= self.codes.shape[2]:
            raise ValueError(f"no scores of the frames {start} to {stop}")
        scores = self.frame_scores.between(start, stop)
        log_prior, log_likelihood = scores.log_prior.sum(2), scores.log_likelihood.sum(1)
        log_evidence = scores.log_evidence.sum().expand_as(log_likelihood)
        log_proposal = None
        if self.log_proposal is not None:
            log_proposal = log_prior.sum(0) + log_likelihood - log_evidence
        whole = self.whole_log_posterior
        marginals = self.marginals
        if marginals is not None:
            marginals = tuple(table[start:stop] for table in marginals)
        return replace(
            self,
            codes=self.codes[:, :, start:stop],
            log_prior=log_prior,
            log_likelihood=log_likelihood,
            log_evidence=log_evidence,
            log_proposal=log_proposal,
            marginals=marginals,
            warnings=() if start else self.warnings,
            frame_scores=scores,
            whole_log_posterior=self.log_posterior if whole is None else whole,
        )


class DecodedCandidates:
    """Candidates as sound, at the codec's rate.

    Args:
        candidates: The codes and scores behind the waves.
        waves: Decoded sources *before* their gain, or ``decode(rows)`` that gives them for some
            candidates: ``sources candidates channels samples``. What nobody asks for is not
            decoded.
        mixture: The codec's round trip of the mixture, or the mixture itself where the codec has
            no mixture codes; ``channels samples``.
        gains: Linear factor of each source in the mixture.
    """

    def __init__(
        self,
        candidates: Candidates,
        waves: Tensor | Decode,
        mixture: Float[Tensor, "channels samples"],
        gains: tuple[float, ...],
    ) -> None:
        self.candidates, self.mixture, self.gains = candidates, mixture, gains
        self._waves = waves if isinstance(waves, Tensor) else None
        self._decode = None if isinstance(waves, Tensor) else waves

    @property
    def waves(self) -> Float[Tensor, "sources candidates channels samples"]:
        """All of them."""
        if self._waves is None:
            self._waves = self.chosen(torch.arange(self.candidates.n_candidates))
        return self._waves

    def chosen(
        self, rows: Int64[Tensor, " chosen"]
    ) -> Float[Tensor, "sources chosen channels samples"]:
        """The waves of some candidates."""
        if self._waves is not None:
            return self._waves[:, rows.to(self._waves.device)]
        assert self._decode is not None
        return self._decode(rows)


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


@dataclass(frozen=True)
class Selection:
    """Weight of every candidate for every source; each row sums to one, one-hot is a pick.

    Args:
        weights: Of the candidates.
        scores: What the selector wants reported, by name.
        joint: Scores of all combinations, from selectors that compare them.
    """

    weights: Float[Tensor, "sources candidates"]
    scores: Mapping[str, float] = field(default_factory=dict)
    joint: JointScores | None = None
