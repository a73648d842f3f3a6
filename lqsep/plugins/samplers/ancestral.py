"""Ancestral sampling: every candidate draws one frame's joint codes after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from lqsep.core.inference.batches import BatchLimit, in_batches
from lqsep.core.inference.filters import Filters
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.candidates import Candidates
from lqsep.core.interfaces.sampler import OnFrame, Sampler
from lqsep.plugins.samplers.checks import check_counts


class AncestralSampler(Sampler):
    """Draws each frame from ``p(codes | past codes, mixture frame)``, exactly.

    The candidates are independent and in the order drawn. As the frames to come are not looked
    at, they follow the posterior only up to their importance weight, log posterior minus
    ``log_proposal``.

    Args:
        n_candidates: Number of draws.
        batch_size: Draws at a time; None takes all at once. The result does not depend on it.
        filters: What may be drawn.

    Raises:
        ValueError: A count is below 1.

    Reference: Mancusi et al. 2021, arXiv:2110.05313, section 3.
    """

    def __init__(
        self,
        n_candidates: int = 16,
        *,
        batch_size: int | None = None,
        filters: Filters | None = None,
    ) -> None:
        check_counts(n_candidates=n_candidates, batch_size=batch_size)
        self.n_candidates = n_candidates
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
        # All of them at once, so that a candidate's numbers do not depend on the batches.
        shape = (self.n_candidates, posterior.n_frames, posterior.n_sources)
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator)

        def draw(start: int, stop: int) -> Candidates:
            prompt = posterior.prompt
            if prompt is not None:
                # Row n of the batch is candidate start + n, which continues its own prompt.
                prompt = prompt.roll(-start, 0)
            state = posterior.start(stop - start, prompt)
            for frame in range(posterior.n_frames):
                numbers = uniform[start:stop, frame]
                drawn = posterior.draw(state, filters=self.filters, uniform=numbers)
                state = posterior.extend(state, drawn)
                if on_frame is not None:
                    done = start * posterior.n_frames + (stop - start) * (frame + 1)
                    on_frame(done // self.n_candidates, posterior.n_frames)
            return posterior.candidates(state)

        parts = in_batches(draw, self.n_candidates, self.batch_size, limit=self._limit)
        return concatenate(parts)


def concatenate(parts: list[Candidates]) -> Candidates:
    """Candidates of several batches, in order."""
    if len(parts) == 1:
        return parts[0]

    def proposal(part: Candidates) -> Tensor:
        assert part.log_proposal is not None
        return part.log_proposal

    return Candidates(
        codes=torch.cat([part.codes for part in parts], 1),
        log_prior=torch.cat([part.log_prior for part in parts], 1),
        log_likelihood=torch.cat([part.log_likelihood for part in parts]),
        log_evidence=torch.cat([part.log_evidence for part in parts]),
        log_proposal=torch.cat([proposal(part) for part in parts]),
    )
