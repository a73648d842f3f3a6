"""Rejection sampling: ancestral draws, accepted by how well they explain the whole mixture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lqsep.core.errors import EmptySupportError
from lqsep.core.inference.batches import BatchLimit, in_batches
from lqsep.core.inference.bounds import log_evidence_bound
from lqsep.core.inference.filters import Filters
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.candidates import Candidates
from lqsep.core.interfaces.sampler import OnFrame, Sampler
from lqsep.plugins.samplers.ancestral import concatenate
from lqsep.plugins.samplers.checks import check_counts
from lqsep.plugins.samplers.progress import Progress
from lqsep.plugins.samplers.weights import effective_sample_size, equally_weighted, systematic


class RejectionSampler(Sampler):
    """Draws whole sequences from the posterior, exactly while enough proposals are accepted.

    A proposal is an ancestral draw; its importance weight, posterior over proposal, is the
    exponential of its running log evidence. It is accepted with probability weight / bound, the
    bound being certified (`lqsep.core.inference.bounds`), so that accepted proposals are
    independent draws from the posterior. Over many frames hardly any is accepted: when
    ``max_rounds`` rounds gave too few, as many candidates as asked for are drawn from all proposals
    by weight instead, with replacement, and the candidates say so in ``warnings``. A likelihood
    that looks at past codes has no bound; then nothing is accepted or refused, and the proposals
    are drawn from by weight at once.

    What is targeted under filters: the product of the filtered, normalised priors and the
    likelihood, over the sequences whose every pair of codes the joint filters keep.

    Diagnostics: ``effective_sample_size`` (the number of candidates where they are exact, else that
    of all weighted proposals), ``acceptance``, ``rounds``, ``proposals``, ``log_evidence`` (the
    estimate of log p(mixture), which every candidate carries too).

    Args:
        n_candidates: Number of draws; as many always come out.
        max_rounds: Rounds of proposals before falling back.
        batch_size: Proposals per round; None makes as many as candidates. Once accepted, the
            candidates do not depend on it.
        filters: What may be drawn.

    Raises:
        ValueError: A count is below 1.

    Reference: Robert and Casella 2004, "Monte Carlo Statistical Methods", sections 2.3 and 14.3.5.
    """

    def __init__(
        self,
        n_candidates: int = 16,
        *,
        max_rounds: int = 8,
        batch_size: int | None = None,
        filters: Filters | None = None,
    ) -> None:
        check_counts(n_candidates=n_candidates, max_rounds=max_rounds, batch_size=batch_size)
        self.n_candidates = n_candidates
        self.max_rounds = max_rounds
        self.batch_size = batch_size
        self.filters = filters or Filters()
        self._limit = BatchLimit()

    def sample(
        self,
        posterior: SequencePosterior,
        *,
        generator: torch.Generator,
        on_frame: OnFrame | None = None,
    ) -> Candidates:
        log_bound = log_evidence_bound(posterior, self.filters)
        progress = Progress(on_frame, posterior.n_frames)
        size = self.batch_size or self.n_candidates
        made = _Proposals([], torch.zeros(0, dtype=torch.bool, device=posterior.device))
        rounds = 0
        while rounds < self.max_rounds and made.n_accepted < self.n_candidates:
            # One row per proposal, so that its numbers do not depend on rounds and batches.
            shape = (size, posterior.n_sources * posterior.n_frames + 1)
            uniform = torch.rand(shape, dtype=torch.float64, generator=generator)
            for draws, places in self._propose(posterior, uniform, rounds, progress):
                luck = uniform[places.cpu(), -1].to(posterior.device).log()
                made.add(draws, luck < draws.log_evidence - log_bound)
            rounds += 1
            progress(max(rounds / self.max_rounds, made.n_accepted / self.n_candidates))
        if not made.parts:
            raise EmptySupportError(
                f"none of {rounds * size} draws went through all {posterior.n_frames} frames: "
                "priors, their filters and the likelihood exclude every joint code they met. "
                "Loosen top-k/top-p, use a likelihood with a floor, or more draws (batch_size)."
            )
        return self._finish(made, rounds, size, log_bound, generator)

    def _propose(
        self,
        posterior: SequencePosterior,
        uniform: Float64[Tensor, "proposals numbers"],
        round_index: int,
        progress: Progress,
    ) -> list[tuple[Candidates, Int64[Tensor, " living"]]]:
        """One round of ancestral draws; those that met an impossible frame are left out."""
        size, n_frames = len(uniform), posterior.n_frames
        first = round_index * size

        def draw(start: int, stop: int) -> tuple[Candidates, Tensor] | None:
            prompt = posterior.prompt
            if prompt is not None:
                # Proposal n of all rounds continues row n of the prompt, whatever the batches.
                prompt = prompt.roll(-(first + start), 0)
            numbers = uniform[start:stop, :-1].view(stop - start, n_frames, -1)
            numbers = numbers.to(posterior.device)
            places = torch.arange(start, stop, device=posterior.device)
            state = posterior.start(stop - start, prompt)
            for frame in range(n_frames):
                possible = posterior.log_evidence(state, self.filters) > float("-inf")
                rows = None
                if not bool(possible.all()):
                    rows = possible.nonzero()[:, 0]
                    if not len(rows):
                        return None
                    places, numbers = places[rows], numbers[rows]
                drawn = posterior.draw(
                    state, filters=self.filters, rows=rows, uniform=numbers[:, frame]
                )
                state = posterior.extend(state, drawn)
                done = start + (stop - start) * (frame + 1) / n_frames
                progress((first + done) / (self.max_rounds * size))
            return posterior.candidates(state), places

        parts = in_batches(draw, size, limit=self._limit)
        return [part for part in parts if part is not None]

    def _finish(
        self,
        made: _Proposals,
        rounds: int,
        size: int,
        log_bound: float,
        generator: torch.Generator,
    ) -> Candidates:
        draws, n_proposals = concatenate(made.parts), rounds * size
        log_weight = draws.log_evidence
        # Proposals that were left out count with weight zero.
        log_evidence = float(log_weight.logsumexp(0)) - math.log(n_proposals)
        diagnostics = {
            "acceptance": made.n_accepted / n_proposals,
            "rounds": float(rounds),
            "proposals": float(n_proposals),
        }
        if made.n_accepted >= self.n_candidates:
            order = made.accepted.nonzero()[: self.n_candidates, 0]
            diagnostics["effective_sample_size"] = float(self.n_candidates)
            return equally_weighted(draws, order, log_evidence, diagnostics)
        uniform = torch.rand(1, dtype=torch.float64, generator=generator)
        order = systematic(log_weight[None], self.n_candidates, uniform)[0]
        effective = float(effective_sample_size(log_weight))
        diagnostics["effective_sample_size"] = effective
        reason = (
            "the likelihood looks at past codes, so that their weights have no bound"
            if log_bound == float("inf")
            else f"{made.n_accepted} were accepted and {self.n_candidates} are needed"
        )
        warning = (
            f"rejection sampling resampled its {n_proposals} draws by weight because {reason}: "
            f"the candidates are not exact draws, the effective sample size is {effective:.1f}"
        )
        return equally_weighted(draws, order, log_evidence, diagnostics, (warning,))


@dataclass
class _Proposals:
    """All finished proposals of the rounds so far, and which of them were accepted."""

    parts: list[Candidates]
    accepted: Tensor

    @property
    def n_accepted(self) -> int:
        return int(self.accepted.sum())

    def add(self, draws: Candidates, accepted: Tensor) -> None:
        self.parts.append(draws)
        self.accepted = torch.cat([self.accepted, accepted])
