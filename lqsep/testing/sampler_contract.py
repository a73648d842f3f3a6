"""What every sampler must fulfil."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch

from lqsep.core.errors import EmptySupportError
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.candidates import Candidates
from lqsep.core.interfaces.sampler import Sampler
from lqsep.testing.comparing import assert_close, assert_raises
from lqsep.testing.toys import DenseBound, enumerate_posterior, random_posterior


class SamplerContract:
    """A sampler: shapes, true scores, repeatable for one seed, progress to the end."""

    seeds = (0, 1, 2)

    @abstractmethod
    def make(self) -> Sampler:
        """The sampler to check."""

    def posterior(self, seed: int) -> SequencePosterior:
        """A small posterior with codebooks of different sizes; its priors are Markov chains."""
        return random_posterior(seed, n_codes=(3, 4), n_frames=3)

    def run(self, seed: int) -> Candidates:
        """Sample one posterior."""
        generator = torch.Generator().manual_seed(seed)
        return self.make().sample(self.posterior(seed), generator=generator)

    def test_shapes_and_ranges(self) -> None:
        for seed in self.seeds:
            found, posterior = self.run(seed), self.posterior(seed)
            n = found.n_candidates
            assert n >= 1 and found.codes.shape == (2, n, posterior.n_frames)
            assert found.codes.dtype == torch.int64 and found.codes.min() >= 0
            assert found.log_prior.shape == (2, n)
            for values in (found.log_likelihood, found.log_evidence, found.log_proposal):
                assert values is None or (values.shape == (n,) and values.isfinite().all())
            for source, prior in enumerate(posterior.priors):
                assert found.codes[source].max() < prior.info.codebook_size

    def test_scores_are_those_of_the_codes(self) -> None:
        for seed in self.seeds:
            found, exact = self.run(seed), enumerate_posterior(self.posterior(seed))
            for candidate in range(found.n_candidates):
                same = (exact.codes == found.codes[:, candidate]).all(2).all(1)
                assert_close(found.log_prior[:, candidate], exact.log_prior[:, same][:, 0])
                assert_close(found.log_likelihood[candidate], exact.log_likelihood[same][0])

    def test_marginals(self) -> None:
        for seed in self.seeds:
            marginals = self.run(seed).marginals
            if marginals is None:
                continue
            exact, posterior = enumerate_posterior(self.posterior(seed)), self.posterior(seed)
            for source, prior in enumerate(posterior.priors):
                expected = exact.marginals(source, prior.info.codebook_size)
                assert_close(marginals[source].double(), expected)

    def test_same_seed_same_candidates(self) -> None:
        for seed in self.seeds:
            first, second = self.run(seed), self.run(seed)
            assert torch.equal(first.codes, second.codes)
            assert torch.equal(first.log_prior, second.log_prior)

    def test_global_random_state_is_left_alone(self) -> None:
        torch.manual_seed(7)
        before = torch.get_rng_state()
        self.run(0)
        assert torch.equal(before, torch.get_rng_state())

    def test_progress_reaches_the_end(self) -> None:
        calls: list[tuple[int, int]] = []
        self.make().sample(
            self.posterior(0),
            generator=torch.Generator().manual_seed(0),
            on_frame=lambda done, total: calls.append((done, total)),
        )
        done = [call[0] for call in calls]
        assert calls and done == sorted(done) and done[0] >= 0
        assert done[-1] == calls[-1][1]

    def test_impossible_frames_are_an_error(self) -> None:
        posterior = self.posterior(0)
        values = torch.zeros(posterior.n_frames, 3, 4)
        values[1] = -math.inf
        empty = SequencePosterior(posterior.priors, DenseBound(values))
        generator = torch.Generator().manual_seed(0)
        assert_raises(EmptySupportError, lambda: self.make().sample(empty, generator=generator))
