"""One step of joint inference to look at: what prior and likelihood said of the pairs of codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lqsep.core.inference.posterior import SequencePosterior


@dataclass(frozen=True)
class StepScores:
    """A part of a frame's joint table, natural logs; source 0 is the row axis.

    Args:
        frame: Which frame.
        codes: Per source, the codes that are in here.
        log_prior: Per source, of these codes given the past.
        log_likelihood: Of their pairs, unnormalised; ``codes of source 0, codes of source 1``.
        log_posterior: Of their pairs, normalised over all pairs of the frame.
        chosen: The codes that the hypothesis went on with.
    """

    frame: int
    codes: tuple[Int64[Tensor, " rows"], Int64[Tensor, " columns"]]
    log_prior: tuple[Float64[Tensor, " rows"], Float64[Tensor, " columns"]]
    log_likelihood: Float64[Tensor, "rows columns"]
    log_posterior: Float64[Tensor, "rows columns"]
    chosen: tuple[int, int]


def step_scores(
    posterior: SequencePosterior,
    codes: Int64[Tensor, "sources frames"],
    frame: int,
    most_codes: int = 64,
) -> StepScores:
    """Follow a hypothesis up to a frame, and take that frame's tables.

    Up to ``most_codes`` codes per source all of them are taken, in order; else the most probable
    ones, most probable first (source 1's as far as those of source 0 tell), and the chosen one in
    any case. The whole table of pairs is never made.

    Args:
        posterior: Of the segment, with the likelihood that the hypothesis was drawn by.
        codes: The hypothesis, for ``frame + 1`` frames or more.
        frame: Which frame.
        most_codes: Codes taken per source.

    Raises:
        ValueError: The hypothesis ends before the frame.
    """
    if not 0 <= frame < codes.shape[1]:
        raise ValueError(f"frame {frame} is not among the hypothesis's {codes.shape[1]} frames")
    state = posterior.start(1)
    for past in range(frame):
        state = posterior.extend(state, posterior.chosen(state, codes[None, :, past]))
    likelihood = state.likelihood
    assert likelihood is not None
    log_p0, log_p1 = (table.double() for table in state.tables)
    weight = log_p0 + likelihood.row_logsum(log_p0, log_p1)
    log_evidence = weight.logsumexp(1)

    chosen = (int(codes[0, frame]), int(codes[1, frame]))
    first = _best(weight[0], most_codes, chosen[0])
    log_likelihood = likelihood.rows(torch.zeros_like(first), first)
    joint = log_p0[0, first, None] + log_p1 + log_likelihood
    second = _best(joint.logsumexp(0), most_codes, chosen[1])
    return StepScores(
        frame=frame,
        codes=(first, second),
        log_prior=(log_p0[0, first], log_p1[0, second]),
        log_likelihood=log_likelihood[:, second],
        log_posterior=joint[:, second] - log_evidence,
        chosen=chosen,
    )


def _best(weight: Float64[Tensor, " codebook_size"], most: int, chosen: int) -> Tensor:
    if len(weight) <= most:
        return torch.arange(len(weight), device=weight.device)
    best = weight.sort(descending=True, stable=True).indices[:most]
    if not bool((best == chosen).any()):
        best[-1] = chosen
    return best
