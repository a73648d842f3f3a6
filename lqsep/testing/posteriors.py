"""Posteriors to try a sampler on, beside `lqsep.testing.toys.random_posterior`."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.candidates import Candidates
from lqsep.core.interfaces.sampler import Sampler
from lqsep.testing.toys import DenseBound, EchoBound, LongMemoryPrior, MarkovPrior


def draw(sampler: Sampler, posterior: SequencePosterior, seed: int = 0, **more: Any) -> Candidates:
    """What the sampler gives with the random numbers of a seed; ``more`` is passed on."""
    return sampler.sample(posterior, generator=torch.Generator().manual_seed(seed), **more)


class HungryPrior(LongMemoryPrior):
    """Runs out of device memory with more than ``most_rows`` hypotheses."""

    def __init__(self, votes: Float[Tensor, "codebook_size codebook_size"], most_rows: int) -> None:
        super().__init__(votes)
        self._most_rows = most_rows

    def start(
        self, n_rows: int, prompt: Int64[Tensor, "rows frames"] | None = None
    ) -> list[Tensor]:
        if n_rows > self._most_rows:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return super().start(n_rows, prompt)


def long_memory_posterior(
    seed: int = 0,
    *,
    n_codes: tuple[int, int] = (5, 6),
    n_frames: int = 12,
    prior_scale: float = 1.0,
    scale: float = 1.0,
    prompt: Int64[Tensor, "rows sources frames"] | None = None,
    most_rows: int | None = None,
) -> SequencePosterior:
    """Two priors and a likelihood that look at the whole past.

    Args:
        seed: Of their tables, which are Gaussian.
        n_codes: Of each source.
        n_frames: Of the sequence.
        prior_scale: Standard deviation of the priors' logits.
        scale: Of the log-likelihoods.
        prompt: Codes that come before.
        most_rows: The priors are a `HungryPrior`.
    """
    generator = torch.Generator().manual_seed(seed)
    votes = [torch.randn(size, size, generator=generator) * prior_scale for size in n_codes]
    priors = [
        LongMemoryPrior(logits) if most_rows is None else HungryPrior(logits, most_rows)
        for logits in votes
    ]
    values = torch.randn(n_frames, *n_codes, generator=generator) * scale
    return SequencePosterior(priors, EchoBound(values), prompt=prompt)


def dead_end_posterior(living: float = 0.1) -> SequencePosterior:
    """Whoever begins with code 0 of source 0 has no way on at frame 1.

    Args:
        living: Share of those that begin with the other code.
    """
    log_initial = torch.tensor([1 - living, living]).log()
    stay = torch.eye(2).log()
    flat = MarkovPrior(torch.zeros(2) - math.log(2), torch.zeros(2, 2) - math.log(2))
    values = torch.zeros(3, 2, 2)
    values[1, 0] = -math.inf
    return SequencePosterior([MarkovPrior(log_initial, stay), flat], DenseBound(values))
