"""What the samplers give, against every joint sequence listed with its exact probability.

Every statistical test has a fixed seed, and says how often it would fail by chance with another.
"""

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lqsep.core.inference.filters import Filters
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.plugins.samplers.rejection import RejectionSampler
from lqsep.plugins.samplers.smc import SMCSampler
from lqsep.testing.enumeration import enumerate_sampling
from lqsep.testing.toys import (
    DenseBound,
    EchoBound,
    LongMemoryPrior,
    enumerate_posterior,
    random_markov_prior,
    random_posterior,
)

pytestmark = pytest.mark.integration

# One run in a thousand has a smaller probability of its statistic by chance.
P_VALUE = 1e-3

FILTERS = {
    "none": Filters(),
    "temperature": Filters(temperature=0.6),
    "top-k and top-p": Filters(top_k=2, top_p=0.9),
    "joint top-k": Filters(joint_top_k=4),
    "joint top-p": Filters(joint_top_p=0.8),
    "all": Filters(1.3, top_k=2, top_p=0.98, joint_top_k=4, joint_top_p=0.95),
}


@cache
def exact_sampling(make, filters):
    return enumerate_sampling(make(), filters)


def sample(sampler, posterior, seed=0):
    return sampler.sample(posterior, generator=torch.Generator().manual_seed(seed))


def markov_posterior():
    return random_posterior(0, n_codes=(2, 3), n_frames=3, scale=1.0)


def long_memory_posterior():
    """The priors look at the whole past; the likelihood at none."""
    rng = torch.Generator().manual_seed(1)
    priors = [LongMemoryPrior(torch.randn(k, k, generator=rng) * 1.5) for k in (3, 2)]
    return SequencePosterior(priors, DenseBound(torch.randn(3, 3, 2, generator=rng)))


def echo_posterior():
    """Priors and likelihood look at the whole past: importance weights have no bound."""
    plain = long_memory_posterior()
    return SequencePosterior(plain.priors, EchoBound(plain.bound.log_likelihood))


def chi_square_tail(counts, probability):
    """Probability of a statistic as large by chance; cells below 5 expected are merged."""
    n_draws = counts.sum()
    assert float(counts[probability == 0].sum()) == 0, "an impossible sequence was drawn"
    small = probability * n_draws < 5
    expected = torch.cat([probability[~small], probability[small].sum()[None]]) * n_draws
    observed = torch.cat([counts[~small], counts[small].sum()[None]]).double()
    expected, observed = expected[expected > 0], observed[expected > 0]
    assert len(expected) > 10, "too few cells to say anything"
    statistic = ((observed - expected).square() / expected).sum()
    freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, statistic / 2))


def counts_of(exact, candidates):
    places = exact.places(candidates.codes)
    assert torch.equal(exact.codes[places], candidates.codes.transpose(0, 1))
    return torch.bincount(places, minlength=len(exact.codes))


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize("make", [markov_posterior, long_memory_posterior, echo_posterior])
def test_ancestral_draws_follow_the_filtered_frames(make, filters):
    posterior = make()
    exact = exact_sampling(make, filters)
    assert float(exact.log_proposal.logsumexp(0)) == pytest.approx(0, abs=1e-6)
    # Where the likelihood knows the past, each draw has a list of pairs of its own, which is slow.
    n_draws = 1000 if make is echo_posterior and filters.restricts_pairs else 4000
    found = sample(AncestralSampler(n_draws, filters=filters), posterior)
    assert chi_square_tail(counts_of(exact, found), exact.log_proposal.exp()) > P_VALUE
    places = exact.places(found.codes)
    # float32 prior tables and sums.
    torch.testing.assert_close(found.log_proposal, exact.log_proposal[places], atol=2e-5, rtol=0)
    weight = (exact.log_target - exact.log_proposal)[places]
    torch.testing.assert_close(found.log_evidence, weight, atol=2e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize("make", [markov_posterior, long_memory_posterior])
def test_rejection_is_exact(make, filters):
    posterior = make()
    exact = exact_sampling(make, filters)
    sampler = RejectionSampler(2000, batch_size=2000, max_rounds=200, filters=filters)
    found = sample(sampler, posterior)
    assert found.n_candidates == 2000 and not found.warnings
    probability = exact.log_target.softmax(0)
    assert chi_square_tail(counts_of(exact, found), probability) > P_VALUE
    if make is long_memory_posterior:
        return
    # The proposals alone are something else: the test can tell.
    ancestral = sample(AncestralSampler(2000, filters=filters), posterior)
    assert chi_square_tail(counts_of(exact, ancestral), probability) < 1e-6


def test_without_filters_the_target_is_the_posterior():
    posterior = long_memory_posterior()
    target = enumerate_sampling(posterior, Filters())
    torch.testing.assert_close(
        target.log_target, enumerate_posterior(posterior).log_joint, atol=1e-5, rtol=0
    )


def test_rejection_that_falls_back_tends_to_the_posterior():
    """Resampled by weight: nearer to the posterior than the proposals, and with more, near it."""
    posterior = echo_posterior()
    exact = enumerate_sampling(posterior, Filters())
    probability = exact.log_target.softmax(0)
    # Half the sum of mean absolute errors of as many independent exact draws.
    independent = float((probability * (1 - probability) * 2 / math.pi / 4000).sqrt().sum()) / 2
    found = sample(RejectionSampler(4000, batch_size=10000, max_rounds=4), posterior)
    assert len(found.warnings) == 1
    frequency = counts_of(exact, found) / 4000
    assert total_variation(frequency, probability) < 1.5 * independent
    ancestral = counts_of(exact, sample(AncestralSampler(4000), posterior)) / 4000
    assert total_variation(ancestral, probability) > 3 * independent


def total_variation(p, q):
    return float((p - q).abs().sum()) / 2


@pytest.mark.parametrize("n_islands", [1, 4])
@pytest.mark.parametrize(
    ("make", "filters"),
    [
        (markov_posterior, FILTERS["none"]),
        (markov_posterior, FILTERS["all"]),
        (echo_posterior, FILTERS["none"]),
    ],
    ids=["markov", "markov filtered", "long memory"],
)
def test_smc_tends_to_the_posterior(make, n_islands, filters):
    """Total variation at most 1.5 times that of as many independent draws: it shrinks as 1/sqrt."""
    posterior = make()
    exact = exact_sampling(make, filters)
    probability = exact.log_target.softmax(0)
    for n in (64, 512, 2048):
        independent = float((probability * (1 - probability) * 2 / math.pi / n).sqrt().sum()) / 2
        sampler = SMCSampler(
            n, n_particles=n // n_islands, n_islands=n_islands, resample_below=1.0, filters=filters
        )
        runs = [sample(sampler, posterior, seed) for seed in range(4)]
        assert sum(run.diagnostics["resampled"] for run in runs) > 0, n
        errors = [total_variation(counts_of(exact, run) / n, probability) for run in runs]
        assert sum(errors) / 4 < 1.5 * independent
    # The proposals alone are further off than the last tolerance.
    proposal = exact.log_proposal.exp()
    assert total_variation(proposal, probability) > 1.5 * independent


@pytest.mark.parametrize("resample_below", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("make", [markov_posterior, echo_posterior])
def test_evidence_of_smc_is_unbiased(make, resample_below):
    """Few particles, many islands: the mean of the estimates, not of their logarithms, is exact."""
    posterior = make()
    exact = enumerate_sampling(posterior, Filters()).log_evidence
    sampler = SMCSampler(1, n_particles=3, n_islands=100, resample_below=resample_below)
    found = [sample(sampler, posterior, seed).diagnostics["log_evidence"] for seed in range(30)]
    ratio = (torch.tensor(found, dtype=torch.float64) - exact).exp()
    error = float(ratio.std()) / math.sqrt(len(ratio))
    # Four standard errors: one run in 16,000.
    assert abs(float(ratio.mean()) - 1) < 4 * error
    assert error < 0.02


def test_evidence_of_rejection():
    posterior = markov_posterior()
    exact = enumerate_sampling(posterior, Filters()).log_evidence
    found = sample(RejectionSampler(2000, batch_size=5000, max_rounds=50), posterior)
    # 1 % is some four standard errors of ten thousand weights or more.
    assert found.diagnostics["log_evidence"] == pytest.approx(exact, abs=0.02)


@pytest.mark.slow
@settings(deadline=None, max_examples=40, derandomize=True, database=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    n_frames=st.integers(1, 5),
    n_candidates=st.integers(1, 9),
    scale=st.sampled_from([0.0, 1.0, 8.0, 60.0]),
    filters=st.sampled_from(list(FILTERS.values())),
)
def test_any_sizes(seed, sizes, n_frames, n_candidates, scale, filters):
    """Whatever the sizes: as many candidates as asked for, possible ones, with true scores."""
    rng = torch.Generator().manual_seed(seed)
    priors = [random_markov_prior(size, rng, scale=scale / 4 + 0.1) for size in sizes]
    values = torch.randn(n_frames, *sizes, generator=rng, dtype=torch.float64) * scale
    posterior = SequencePosterior(priors, DenseBound(values))
    for sampler in (
        AncestralSampler(n_candidates, filters=filters),
        BeamSampler(n_candidates, filters=filters),
        RejectionSampler(n_candidates, max_rounds=2, filters=filters),
        SMCSampler(n_candidates, n_particles=5, n_islands=2, filters=filters),
    ):
        found = sample(sampler, posterior, seed)
        assert found.codes.shape == (2, found.n_candidates, n_frames)
        assert found.n_candidates == n_candidates or isinstance(sampler, BeamSampler)
        for source, prior in enumerate(posterior.priors):
            # float32 tables; the values reach hundreds of nats.
            torch.testing.assert_close(
                found.log_prior[source],
                prior.log_prob(found.codes[source]).double().sum(1),
                atol=1e-4,
                rtol=1e-5,
            )
        frames = torch.arange(n_frames)
        expected = values[frames, found.codes[0], found.codes[1]].sum(1)
        torch.testing.assert_close(found.log_likelihood, expected, atol=1e-6, rtol=1e-9)
        assert found.log_evidence.isfinite().all()
