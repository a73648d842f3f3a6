"""The posterior with every pair of codes listed, in float64: slow, plain, to compare with.

Nothing here is shared with `lqsep.core.inference.posterior`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.interfaces.likelihood import BoundLikelihood
from lqsep.core.interfaces.prior import Prior


@dataclass(frozen=True)
class DenseStep:
    """One frame: ``log p(i, j | past, mixture)``, normalised, and its normaliser."""

    log_posterior: Float64[Tensor, "rows K0 K1"]
    log_evidence: Float64[Tensor, " rows"]


def dense_values(
    likelihood: FrameLikelihood, n_rows: int, device: torch.device | str = "cpu"
) -> Float64[Tensor, "rows K0 K1"]:
    """Every value of a frame's likelihood, for ``n_rows`` hypotheses."""
    codes = torch.arange(likelihood.n_codes[0], device=device)
    values = [likelihood.rows(torch.full_like(codes, n), codes).double() for n in range(n_rows)]
    return torch.stack(values)


def dense_step(
    log_p0: Float[Tensor, "rows K0"],
    log_p1: Float[Tensor, "rows K1"],
    log_likelihood: Float[Tensor, "rows K0 K1"],
) -> DenseStep:
    """Add priors and likelihood over all pairs and normalise."""
    joint = log_p0.double()[:, :, None] + log_p1.double()[:, None, :] + log_likelihood.double()
    log_evidence = joint.flatten(1).logsumexp(1)
    return DenseStep(joint - log_evidence[:, None, None], log_evidence)


@dataclass(frozen=True)
class GreedyRun:
    """The most probable pair at every frame, one after the other.

    Args:
        codes: Of each source.
        log_evidence: Normaliser met at every frame.
        margin: Best minus second-best log posterior at every frame.
    """

    codes: Int64[Tensor, "sources frames"]
    log_evidence: Float64[Tensor, " frames"]
    margin: Float64[Tensor, " frames"]


def dense_greedy(
    priors: Sequence[Prior],
    bound: BoundLikelihood,
    *,
    prompt: Int64[Tensor, "sources frames"] | None = None,
) -> GreedyRun:
    """Greedy decoding of one hypothesis, without windows."""
    states = [
        prior.start(1, None if prompt is None else prompt[source : source + 1])
        for source, prior in enumerate(priors)
    ]
    codes = torch.zeros(1, 2, 0, dtype=torch.int64)
    previous: list[Tensor | None] = [None, None]
    evidence, margin = [], []
    for frame in range(bound.n_frames):
        tables = []
        for source, prior in enumerate(priors):
            table, states[source] = prior.step(states[source], previous[source])
            tables.append(table)
        values = dense_values(bound.at(frame, codes), 1)
        step = dense_step(tables[0], tables[1], values)
        best = step.log_posterior.flatten().topk(2)
        n_columns = step.log_posterior.shape[2]
        pair = torch.stack([best.indices[0] // n_columns, best.indices[0] % n_columns])
        previous = [pair[:1], pair[1:]]
        codes = torch.cat([codes, pair[None, :, None]], 2)
        evidence.append(step.log_evidence[0])
        margin.append(best.values[0] - best.values[1])
    return GreedyRun(codes[0], torch.stack(evidence), torch.stack(margin))
