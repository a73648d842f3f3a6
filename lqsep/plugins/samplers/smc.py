"""Sequential Monte Carlo: a particle filter over the frames of the mixture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lqsep.core.errors import EmptySupportError
from lqsep.core.inference.batches import BatchLimit, in_batches
from lqsep.core.inference.filters import Filters
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.candidates import Candidates
from lqsep.core.interfaces.sampler import OnFrame, Sampler
from lqsep.plugins.samplers.ancestral import concatenate
from lqsep.plugins.samplers.checks import check_counts
from lqsep.plugins.samplers.progress import Progress
from lqsep.plugins.samplers.weights import effective_sample_size, equally_weighted, systematic


class SMCSampler(Sampler):
    """Particles that draw frame by frame and are resampled towards what explains the mixture.

    At every frame a particle's weight is multiplied by the evidence of the frame given its past
    codes, which is known before anything is drawn (a fully adapted particle filter). Where the
    effective sample size of an island's particles falls below ``resample_below`` of their number,
    or a particle has no possible continuation, they are resampled, systematically, and only then
    draw the frame's codes: copies part at once. The islands do not see each other; at the end each
    counts with its own estimate of the evidence, and ``n_candidates`` are drawn from the particles
    of all islands by weight, systematically and with replacement. Exact in the limit of many
    particles, and the estimate of the evidence (not its logarithm) is unbiased for any number.

    What is targeted under filters: the product of the filtered, normalised priors and the
    likelihood, over the sequences whose every pair of codes the joint filters keep.

    Diagnostics: ``effective_sample_size`` (of the final weights of all particles), ``resampled``
    (times, over all islands), ``unique_ancestors`` (particles of the first frame that the
    candidates descend from), ``log_evidence`` (the estimate of log p(mixture), which every
    candidate carries too).

    Args:
        n_candidates: Number of draws; as many always come out.
        n_particles: Per island.
        n_islands: Independent particle filters.
        resample_below: Share of ``n_particles``, 0 to 1; 0 resamples only where a particle has no
            continuation, 1 whenever the weights differ.
        batch_size: Islands at a time; None runs all at once. The result does not depend on it.
        filters: What may be drawn.

    Raises:
        ValueError: A count is below 1, or ``resample_below`` is not from 0 to 1.

    Reference: Pitt and Shephard 1999, "Filtering via simulation: auxiliary particle filters",
    section 2; Del Moral 2004, "Feynman-Kac Formulae", section 7.4, for the unbiased estimate.
    """

    def __init__(
        self,
        n_candidates: int = 16,
        *,
        n_particles: int = 32,
        n_islands: int = 4,
        resample_below: float = 0.5,
        batch_size: int | None = None,
        filters: Filters | None = None,
    ) -> None:
        check_counts(
            n_candidates=n_candidates,
            n_particles=n_particles,
            n_islands=n_islands,
            batch_size=batch_size,
        )
        if not 0 <= resample_below <= 1:
            raise ValueError(f"resample_below must be from 0 to 1, got {resample_below}")
        self.n_candidates = n_candidates
        self.n_particles = n_particles
        self.n_islands = n_islands
        self.resample_below = resample_below
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
        # All of them at once, so that an island's numbers do not depend on the batches.
        shape = (self.n_islands, posterior.n_frames, posterior.n_sources * self.n_particles + 1)
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator)
        progress = Progress(on_frame, posterior.n_frames)

        def run(start: int, stop: int) -> _Islands | None:
            return self._run(posterior, uniform[start:stop], start, progress)

        parts = in_batches(run, self.n_islands, self.batch_size, limit=self._limit)
        progress(1.0)
        living = [part for part in parts if part is not None]
        if not living:
            raise EmptySupportError(
                f"no joint code is possible at some frame for any of {self.n_particles} particles "
                f"on {self.n_islands} islands: the priors, their filters and the likelihood "
                "exclude all of them. Loosen top-k/top-p, use a likelihood with a floor, or more "
                "particles."
            )
        particles = concatenate([part.particles for part in living])
        log_weight = torch.cat([part.log_weight for part in living])
        ancestors = torch.cat([part.ancestors for part in living])
        # Islands without a particle left count with evidence zero.
        log_evidence = float(log_weight.logsumexp(0)) - math.log(self.n_islands * self.n_particles)
        number = torch.rand(1, dtype=torch.float64, generator=generator)
        order = systematic(log_weight[None], self.n_candidates, number)[0]
        diagnostics = {
            "effective_sample_size": float(effective_sample_size(log_weight)),
            "resampled": float(sum(part.resampled for part in living)),
            "unique_ancestors": float(len(torch.unique(ancestors[order]))),
        }
        return equally_weighted(particles, order, log_evidence, diagnostics)

    def _run(
        self,
        posterior: SequencePosterior,
        uniform: Float64[Tensor, "islands frames numbers"],
        first: int,
        progress: Progress,
    ) -> _Islands | None:
        """Some islands side by side, from island ``first`` on; None when no particle is left."""
        n_frames, n_particles = posterior.n_frames, self.n_particles
        uniform = uniform.to(posterior.device)
        n_islands, prompt = len(uniform), posterior.prompt
        if prompt is not None:
            # Particle n of all islands continues row n of the prompt, whatever the batches.
            prompt = prompt.roll(-first * n_particles, 0)
        state = posterior.start(n_islands * n_particles, prompt)
        ancestors = torch.arange(state.n_rows, device=posterior.device) + first * n_particles
        cloud = _Cloud(n_islands, n_particles, posterior.device)
        for frame in range(n_frames):
            cloud.weigh(posterior.log_evidence(state, self.filters))
            rows = cloud.resample(self.resample_below, uniform[:, frame, -1])
            if not len(cloud.islands):
                return None
            numbers = uniform[cloud.islands, frame, :-1].reshape(-1, posterior.n_sources)
            drawn = posterior.draw(state, filters=self.filters, rows=rows, uniform=numbers)
            state = posterior.extend(state, drawn)
            if rows is not None:
                ancestors = ancestors[rows]
            done = first + n_islands * (frame + 1) / n_frames
            progress(done / self.n_islands)
        return _Islands(
            posterior.candidates(state), cloud.total().flatten(), ancestors, cloud.resampled
        )


@dataclass(frozen=True)
class _Islands:
    """Finished particles; their weights are comparable over islands."""

    particles: Candidates
    log_weight: Float64[Tensor, " particles"]
    ancestors: Int64[Tensor, " particles"]
    resampled: int


class _Cloud:
    """Weights of the particles of several islands, one row of a state per particle.

    Attributes:
        islands: Those with a particle left.
        resampled: How many times an island was.
    """

    def __init__(self, n_islands: int, n_particles: int, device: torch.device) -> None:
        self.islands = torch.arange(n_islands, device=device)
        self.resampled = 0
        self._n_particles = n_particles
        # Weight since the island was last resampled, and the mean weight up to then.
        self._log_weight = torch.zeros(n_islands, n_particles, dtype=torch.float64, device=device)
        self._log_mean = torch.zeros(n_islands, dtype=torch.float64, device=device)

    def total(self) -> Float64[Tensor, "islands particles"]:
        """Log weight of every particle since the first frame."""
        return self._log_weight + self._log_mean[:, None]

    def weigh(self, log_evidence: Float64[Tensor, " rows"]) -> None:
        """Multiply every particle's weight by its evidence of the next frame."""
        self._log_weight = self._log_weight + log_evidence.view(self._log_weight.shape)

    def resample(
        self, below: float, uniform: Float64[Tensor, " all_islands"]
    ) -> Int64[Tensor, " rows"] | None:
        """Resample the islands that need it, and drop those without a particle left.

        Returns:
            The row that each particle continues; None when each continues its own.
        """
        log_weight, n = self._log_weight, self._n_particles
        impossible = log_weight == float("-inf")
        living = ~impossible.all(1)
        # Rounding must not resample equal weights when all that differ are to be.
        few = effective_sample_size(log_weight) < below * n * (1 - 1e-9)
        needed = (few | impossible.any(1)) & living
        if bool(living.all()) and not bool(needed.any()):
            return None
        rows = torch.arange(log_weight.numel(), device=log_weight.device).view(log_weight.shape)
        picked = systematic(log_weight[needed], n, uniform[self.islands][needed])
        rows[needed] = rows[needed].gather(1, picked)
        self.resampled += int(needed.sum())
        mean = log_weight.logsumexp(1) - math.log(n)
        self._log_mean = torch.where(needed, self._log_mean + mean, self._log_mean)[living]
        self._log_weight = log_weight.masked_fill(needed[:, None], 0.0)[living]
        self.islands = self.islands[living]
        return rows[living].flatten()
