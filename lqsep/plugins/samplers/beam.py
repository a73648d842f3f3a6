"""Beam search: after every frame, go on with the best joint code sequences only."""

from __future__ import annotations

from dataclasses import replace

import torch

from lqsep.core.inference.filters import Filters
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.candidates import Candidates
from lqsep.core.interfaces.sampler import OnFrame, Sampler
from lqsep.plugins.samplers.checks import check_counts


class BeamSampler(Sampler):
    """Keeps the ``beam_width`` sequences of the highest posterior. Deterministic.

    Every frame's search goes through all joint continuations of all kept sequences, and is exact;
    what a beam loses are sequences whose start looked worse than ``beam_width`` others.

    Args:
        beam_width: Sequences kept, and candidates given, best first. Fewer candidates come out
            when fewer sequences are possible.
        filters: What may be chosen. The ranking is by the filtered priors.

    Raises:
        ValueError: ``beam_width`` is below 1.
    """

    def __init__(self, beam_width: int = 16, *, filters: Filters | None = None) -> None:
        check_counts(beam_width=beam_width)
        self.beam_width = beam_width
        self.filters = filters or Filters()

    def sample(
        self,
        posterior: SequencePosterior,
        *,
        generator: torch.Generator,
        on_frame: OnFrame | None = None,
    ) -> Candidates:
        state = posterior.start(1)
        for frame in range(posterior.n_frames):
            state = posterior.extend(state, posterior.top(state, self.beam_width, self.filters))
            if on_frame is not None:
                on_frame(frame + 1, posterior.n_frames)
        # Nothing was drawn, so there is no proposal to weigh by.
        return replace(posterior.candidates(state), log_proposal=None)
