"""The exact posterior over whole sequences, by listing them all."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lqsep.core.interfaces.prior import Prior
from lqsep.core.posterior import SequencePosterior

# Joint sequences that an enumeration may list: some tens of megabytes.
_MOST_SEQUENCES = 1 << 20


@dataclass(frozen=True)
class ExactPosterior:
    """Every joint sequence with its score, in float64.

    Args:
        codes: All of them.
        log_prior: Per source.
        log_likelihood: Summed over frames.
    """

    codes: Int64[Tensor, "sequences sources frames"]
    log_prior: Float64[Tensor, "sources sequences"]
    log_likelihood: Float64[Tensor, " sequences"]

    @property
    def log_joint(self) -> Float64[Tensor, " sequences"]:
        """Log prior plus log likelihood."""
        return self.log_prior.sum(0) + self.log_likelihood

    @property
    def log_evidence(self) -> float:
        """``log p(mixture)``."""
        return float(self.log_joint.logsumexp(0))

    @property
    def probability(self) -> Float64[Tensor, " sequences"]:
        """Of every sequence, given the mixture."""
        return self.log_joint.softmax(0)

    def best(self, n: int = 1) -> Int64[Tensor, "n sources frames"]:
        """The most probable sequences, best first."""
        return self.codes[self.log_joint.sort(descending=True, stable=True).indices[:n]]

    def marginals(self, source: int, codebook_size: int) -> Float64[Tensor, "frames codebook_size"]:
        """Posterior of each frame's code of one source."""
        hot = torch.nn.functional.one_hot(self.codes[:, source], codebook_size).double()
        return torch.einsum("s,sfk->fk", self.probability, hot)


def enumerate_posterior(posterior: SequencePosterior) -> ExactPosterior:
    """List and score every joint sequence of a small posterior.

    Priors and likelihood are asked directly, without the posterior's own code; contexts must be
    long enough to need no windows. Of a prompt the first row counts.

    Raises:
        ValueError: There are too many sequences.
    """
    n_frames = posterior.n_frames
    sizes = [prior.info.codebook_size for prior in posterior.priors]
    n_sequences = (sizes[0] * sizes[1]) ** n_frames
    if n_sequences > _MOST_SEQUENCES:
        raise ValueError(f"expected at most {_MOST_SEQUENCES} sequences, got {n_sequences}")
    per_source, log_prob = [], []
    for source, (prior, size) in enumerate(zip(posterior.priors, sizes, strict=True)):
        codes = torch.tensor(list(itertools.product(range(size), repeat=n_frames)))
        prompt = None
        if posterior.prompt is not None:
            prompt = posterior.prompt[:1, source].expand(len(codes), -1)
        per_source.append(codes)
        log_prob.append(_log_prob(prior, codes, prompt))
    n0, n1 = len(per_source[0]), len(per_source[1])
    codes = torch.stack([per_source[0].repeat_interleave(n1, 0), per_source[1].repeat(n0, 1)], 1)
    log_likelihood = torch.zeros(len(codes), dtype=torch.float64)
    rows = torch.arange(len(codes))
    for frame in range(n_frames):
        likelihood = posterior.bound.at(frame, codes[:, :, :frame])
        log_likelihood += likelihood.at(rows, codes[:, :, frame]).double()
    log_prior = torch.stack([log_prob[0].repeat_interleave(n1), log_prob[1].repeat(n0)])
    return ExactPosterior(codes, log_prior, log_likelihood)


def _log_prob(prior: Prior, codes: Tensor, prompt: Tensor | None) -> Float64[Tensor, " rows"]:
    state = prior.start(len(codes), prompt)
    previous, total = None, torch.zeros(len(codes), dtype=torch.float64)
    for frame in range(codes.shape[1]):
        table, state = prior.step(state, previous)
        previous = codes[:, frame]
        total += table.double().gather(1, previous[:, None])[:, 0]
    return total
