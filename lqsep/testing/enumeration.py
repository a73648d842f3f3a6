"""The exact posterior over whole sequences, by listing them all."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lqsep.core.inference.filters import Filters
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.prior import Prior

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


@dataclass(frozen=True)
class ExactSampling:
    """What samplers under some filters must give, for every joint sequence.

    Args:
        codes: All of them.
        log_target: Filtered, normalised priors times likelihood; -inf where a frame's pair is one
            that the joint filters leave out. Unnormalised: what `rejection` and `smc` follow.
        log_proposal: Log-probability of drawing the codes frame by frame: what `ancestral` follows.
    """

    codes: Int64[Tensor, "sequences sources frames"]
    log_target: Float64[Tensor, " sequences"]
    log_proposal: Float64[Tensor, " sequences"]

    @property
    def log_evidence(self) -> float:
        """Log of the target's sum."""
        return float(self.log_target.logsumexp(0))

    def places(self, codes: Int64[Tensor, "sources candidates frames"]) -> Int64[Tensor, " drawn"]:
        """Where drawn sequences stand in the list."""
        flat = self.codes.flatten(1)
        radix = (flat.amax() + 1) ** torch.arange(flat.shape[1])
        keys, order = (flat @ radix).sort()
        return order[torch.searchsorted(keys, codes.transpose(0, 1).flatten(1) @ radix)]


def enumerate_sampling(posterior: SequencePosterior, filters: Filters) -> ExactSampling:
    """List every joint sequence with its target and its ancestral proposal, pair by pair.

    Nothing is shared with the code that samplers use, filters included. Contexts must be long
    enough to need no windows. Of a prompt the first row counts.

    Raises:
        ValueError: There are too many sequences.
    """
    codes = enumerate_posterior(posterior).codes
    log_target = torch.zeros(len(codes), dtype=torch.float64)
    log_proposal = log_target.clone()
    for frame in range(posterior.n_frames):
        past, place = codes[:1, :, :0], torch.zeros(len(codes), dtype=torch.int64)
        if frame:
            past, place = torch.unique(codes[:, :, :frame], dim=0, return_inverse=True)
        kept = _kept_pairs(posterior, past, filters)
        pair = codes[:, 0, frame] * posterior.priors[1].info.codebook_size + codes[:, 1, frame]
        log_target += kept[place, pair]
        log_proposal += kept.log_softmax(1)[place, pair]
    log_proposal = log_proposal.nan_to_num(nan=-torch.inf)
    return ExactSampling(codes, log_target, log_proposal)


def _kept_pairs(
    posterior: SequencePosterior, past: Int64[Tensor, "rows sources frames"], filters: Filters
) -> Float64[Tensor, "rows pairs"]:
    """Filtered priors times likelihood of every pair of the next frame; -inf where left out."""
    tables = []
    for source, prior in enumerate(posterior.priors):
        known = past[:, source]
        if posterior.prompt is not None:
            prompt = posterior.prompt[:1, source].expand(len(past), -1)
            known = torch.cat([prompt, known], 1)
        table, _ = prior.step(prior.start(len(past), known if known.shape[1] else None), None)
        table = (table.double() / filters.temperature).log_softmax(1)
        tables.append(_without(table, filters.top_k, filters.top_p).log_softmax(1))
    likelihood, rows = posterior.bound.at(past.shape[2], past), torch.arange(len(past))
    joint = tables[0][:, :, None] + tables[1][:, None]
    for i in range(joint.shape[1]):
        joint[:, i] += likelihood.rows(rows, torch.full_like(rows, i)).double()
    return _without(joint.flatten(1), filters.joint_top_k, filters.joint_top_p)


def _without(
    log_weight: Float64[Tensor, "rows choices"], top_k: int, top_p: float
) -> Float64[Tensor, "rows choices"]:
    """Weights with -inf for what top-k and then top-p of the rest leave out; ties are kept."""
    for row in log_weight:
        if top_k:
            row[row < sorted(row.tolist(), reverse=True)[:top_k][-1]] = -torch.inf
        if top_p < 1:
            total, mass = float(row.exp().sum()), 0.0
            for value in sorted(row.tolist(), reverse=True):
                mass += math.exp(value)
                if mass >= top_p * total:
                    row[row < value] = -torch.inf
                    break
    return log_weight
