"""The fast samplers against the posterior with every pair listed, in float64."""

import math

import pytest
import torch

from lqsep.core.inference.filters import Filters
from lqsep.core.inference.frame_distribution import FrameDistribution
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.likelihood import BoundLikelihood
from lqsep.core.likelihoods.dense import DenseLikelihood
from lqsep.core.likelihoods.sparse import SparseLikelihood
from lqsep.core.likelihoods.sum_table import SumTableIndex, SumTableLikelihood
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.testing.dense import dense_greedy, dense_step, dense_values
from lqsep.testing.toys import (
    EchoBound,
    LongMemoryPrior,
    enumerate_posterior,
    random_markov_prior,
    random_posterior,
)

pytestmark = pytest.mark.integration


def generator(seed):
    return torch.Generator().manual_seed(seed)


def codebook_likelihood(n_codes, scale, seed, dim=8, sigma=0.4):
    """Gaussian on the quantised sum of two codes of a random codebook, as in the LQ-VAE."""
    rng = generator(seed)
    codebook = torch.randn(n_codes, dim, generator=rng, dtype=torch.float64) * scale
    sums = (codebook[:, None] + codebook) / 2
    table = torch.cdist(sums.flatten(0, 1), codebook).argmin(1)
    pair = torch.randint(n_codes, (2,), generator=rng)
    mixture = codebook[table.view(n_codes, n_codes)[pair[0], pair[1]]]
    values = -(codebook - mixture).square().sum(1) / (2 * sigma**2)
    index = SumTableIndex(table.view(n_codes, n_codes).int(), n_codes)
    return SumTableLikelihood(index, values)


def prior_tables(n_rows, n_codes, seed, scale=2.0):
    logits = torch.randn(2, n_rows, n_codes, generator=generator(seed)) * scale
    return tuple(logits.log_softmax(-1))


def total_variation(log_p, log_q):
    return (log_p.flatten(1).exp() - log_q.flatten(1).exp()).abs().sum(1) / 2


def two_stage_joint(likelihood, tables):
    """The joint that the two stages of a draw imply: ``p(i) p(j | i)``, from the fast sums."""
    log_p0, log_p1 = (table.double() for table in tables)
    n_rows, n_codes = log_p0.shape
    first = (log_p0 + likelihood.row_logsum(log_p0, log_p1)).log_softmax(1)
    codes = torch.arange(n_codes)
    second = [
        (log_p1[n] + likelihood.rows(torch.full_like(codes, n), codes)).log_softmax(1)
        for n in range(n_rows)
    ]
    return first[:, :, None] + torch.stack(second)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 6.0])
def test_joint_of_small_codebooks(scale):
    likelihood = codebook_likelihood(64, scale, seed=0)
    tables = prior_tables(8, 64, seed=1)
    exact = dense_step(*tables, dense_values(likelihood, 8))
    # float32 sums of 64 terms: measured up to 3e-6 in total variation.
    assert total_variation(two_stage_joint(likelihood, tables), exact.log_posterior).max() < 1e-5
    fast = FrameDistribution(likelihood, tables, Filters())
    torch.testing.assert_close(fast.log_evidence, exact.log_evidence, atol=1e-5, rtol=0)


def line_likelihood(n_codes, sigma):
    """Codes on a line, the code of a sum half-way between the two: large tables made at once."""
    codes = torch.arange(n_codes, dtype=torch.int32)
    index = SumTableIndex((codes[:, None] + codes) // 2, n_codes)
    return SumTableLikelihood(index, -(codes.double() - n_codes / 3).square() / (2 * sigma**2))


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [3.0, 100.0])
@pytest.mark.parametrize("sharpness", [2.0, 8.0])
def test_row_marginals_of_the_full_codebook(sigma, sharpness):
    likelihood = line_likelihood(2048, sigma)
    tables = prior_tables(3, 2048, seed=1, scale=sharpness)
    log_p0, log_p1 = (table.double() for table in tables)
    first = (log_p0 + likelihood.row_logsum(log_p0, log_p1)).log_softmax(1)
    values = likelihood.rows(torch.zeros(2048, dtype=torch.int64), torch.arange(2048))
    for n in range(3):
        marginal = log_p0[n] + (log_p1[n] + values).logsumexp(1)
        # float32 sums of 2048 terms: measured up to 3e-7.
        tv = total_variation(first[n : n + 1], marginal.log_softmax(0)[None])
        assert float(tv) < 2e-6


@pytest.mark.parametrize("gap", [50.0, 200.0, 1000.0])
@pytest.mark.parametrize("form", ["sum table", "sparse", "dense"])
def test_priors_that_contradict_the_likelihood(gap, form):
    """What the priors allow lies ``gap`` nats below the best pair: float32 alone would lose it."""
    n_codes, rng = 32, generator(3)
    values = torch.randn(n_codes, generator=rng, dtype=torch.float64)
    values[n_codes // 2 :] -= gap
    table = torch.randint(n_codes // 2, n_codes, (n_codes, n_codes), generator=rng)
    table[: n_codes // 2, : n_codes // 2] = torch.randint(
        n_codes // 2, (n_codes // 2, n_codes // 2), generator=rng
    )
    if form == "sum table":
        likelihood = SumTableLikelihood(SumTableIndex(table.int(), n_codes), values)
    elif form == "dense":
        likelihood = DenseLikelihood(values[table])
    else:
        listed = torch.arange(n_codes).expand(n_codes, -1)
        likelihood = SparseLikelihood(
            (n_codes, n_codes), listed.T.reshape(-1), listed.reshape(-1), values[table].reshape(-1)
        )
    tables = [table.clone() for table in prior_tables(6, n_codes, seed=4)]
    for log_p in tables:
        log_p[:, : n_codes // 2] = -math.inf
        log_p -= log_p.logsumexp(1, keepdim=True)
    exact = dense_step(*tables, dense_values(likelihood, 6))
    fast = FrameDistribution(likelihood, tables, Filters())
    joint = two_stage_joint(likelihood, tables)
    assert total_variation(joint, exact.log_posterior).max() < 1e-5
    torch.testing.assert_close(fast.log_evidence, exact.log_evidence, atol=1e-5, rtol=0)


def chi_square_tail(counts, probability):
    """Probability of a statistic as large by chance; cells below 5 expected are merged."""
    n_draws = counts.sum()
    small = probability * n_draws < 5
    expected = torch.cat([probability[~small], probability[small].sum()[None]]) * n_draws
    observed = torch.cat([counts[~small], counts[small].sum()[None]]).double()
    if float(expected[-1]) == 0:
        assert float(observed[-1]) == 0, "an impossible outcome was drawn"
        expected, observed = expected[:-1], observed[:-1]
    statistic = ((observed - expected).square() / expected).sum()
    assert len(expected) > 10, "too few cells to say anything"
    freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, statistic / 2))


@pytest.mark.parametrize("form", ["sum table", "dense", "joint top-p"])
def test_draws_follow_the_frame_distribution(form):
    likelihood = codebook_likelihood(12, 0.15, seed=0)
    if form == "dense":
        likelihood = DenseLikelihood(dense_values(likelihood, 1)[0])
    tables = prior_tables(1, 12, seed=1, scale=1.0)
    exact = dense_step(*tables, dense_values(likelihood, 1)).log_posterior[0].flatten().exp()
    filters = Filters()
    if form == "joint top-p":
        filters = Filters(joint_top_p=0.9)
        ordered = exact.sort(descending=True).values
        lowest = ordered[int((ordered.cumsum(0) < 0.9).sum())]
        exact = exact * (exact >= lowest)
        assert 20 < int((exact > 0).sum()) < 120
        exact /= exact.sum()
    # All at once through one hypothesis per draw, except where each would list its own pairs.
    n_rows, n_rounds = (10, 400) if form == "joint top-p" else (4000, 10)
    counts = torch.zeros(144, dtype=torch.int64)
    fast = FrameDistribution(likelihood, [t.expand(n_rows, -1) for t in tables], filters)
    rng = generator(5)
    for _ in range(n_rounds):
        codes = fast.draw(torch.rand(n_rows, 2, dtype=torch.float64, generator=rng))
        counts += torch.bincount(codes[:, 0] * 12 + codes[:, 1], minlength=144)
    # The seed is fixed: fails when the distribution is wrong, not once in a thousand runs.
    assert chi_square_tail(counts, exact) > 1e-3


def history_posterior(seed, sizes=(2, 3), n_frames=3):
    rng = generator(seed)
    priors = [LongMemoryPrior(torch.randn(k, k, generator=rng) * 1.5) for k in sizes]
    return SequencePosterior(priors, EchoBound(torch.randn(n_frames, *sizes, generator=rng)))


def exact_proposal(posterior):
    """Every sequence with the log-probability that ancestral sampling gives it, by forcing it."""
    exact = enumerate_posterior(posterior)
    log_proposal = torch.zeros(len(exact.codes), dtype=torch.float64)
    for frame in range(posterior.n_frames):
        past = exact.codes[:, :, :frame]
        tables = []
        for source, prior in enumerate(posterior.priors):
            known = past[:, source] if frame else None
            tables.append(prior.step(prior.start(len(past), known), None)[0])
        likelihood = posterior.bound.at(frame, past)
        step = dense_step(*tables, dense_values(likelihood, len(past)))
        rows = torch.arange(len(past))
        pair = exact.codes[:, :, frame]
        log_proposal += step.log_posterior[rows, pair[:, 0], pair[:, 1]]
    return exact, log_proposal


@pytest.mark.parametrize("make", [random_posterior, history_posterior])
def test_ancestral_draws_follow_the_exact_step_distributions(make):
    posterior = make(0, n_frames=3) if make is random_posterior else make(0)
    exact, log_proposal = exact_proposal(posterior)
    assert float(log_proposal.logsumexp(0)) == pytest.approx(0, abs=1e-6)
    found = AncestralSampler(5000).sample(posterior, generator=generator(1))
    sizes = [prior.info.codebook_size for prior in posterior.priors]
    radix = torch.tensor([sizes[0] ** f for f in range(3)])
    radix = torch.stack([radix, sizes[0] ** 3 * torch.tensor([sizes[1] ** f for f in range(3)])])
    keys = (exact.codes * radix).sum((1, 2))
    drawn = (found.codes.transpose(0, 1) * radix).sum((1, 2))
    counts = torch.bincount(drawn, minlength=len(keys))[keys]
    assert chi_square_tail(counts, log_proposal.exp()) > 1e-3
    place = torch.empty_like(keys)
    place[keys] = torch.arange(len(keys))
    rows = place[drawn]
    torch.testing.assert_close(found.log_proposal, log_proposal[rows], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.log_prior, exact.log_prior[:, rows], atol=1e-5, rtol=0)
    weight = exact.log_joint[rows] - log_proposal[rows]
    torch.testing.assert_close(found.log_evidence, weight, atol=1e-5, rtol=0)


class CodebookBound(BoundLikelihood):
    """One sum table, another mixture code at every frame."""

    def __init__(self, n_codes, n_frames, seed):
        rng = generator(seed)
        codebook = torch.randn(n_codes, 4, generator=rng, dtype=torch.float64)
        sums = ((codebook[:, None] + codebook) / 2).flatten(0, 1)
        table = torch.cdist(sums, codebook).argmin(1).view(n_codes, n_codes)
        self._index = SumTableIndex(table.int(), n_codes)
        mixture = torch.randint(n_codes, (n_frames,), generator=rng)
        self._values = -torch.cdist(codebook[mixture], codebook).square() / (2 * 0.5**2)
        self.n_frames = n_frames

    def at(self, frame, history):
        return SumTableLikelihood(self._index, self._values[frame])


def codebook_posterior(seed, n_codes=24, n_frames=8):
    rng = generator(seed)
    priors = [random_markov_prior(n_codes, rng, scale=2.0) for _ in range(2)]
    return SequencePosterior(priors, CodebookBound(n_codes, n_frames, seed))


@pytest.mark.parametrize("seed", range(5))
def test_beam_of_one_equals_dense_greedy(seed):
    posterior = codebook_posterior(seed, n_codes=100)
    run = dense_greedy(posterior.priors, posterior.bound)
    assert float(run.margin.min()) > 1e-6, "two pairs are too close for a fair comparison"
    found = BeamSampler(1).sample(posterior, generator=generator(0))
    assert torch.equal(found.codes[:, 0], run.codes)
    assert float(found.log_evidence) == pytest.approx(float(run.log_evidence.sum()), abs=1e-4)


def dense_beam(posterior, width):
    """Beam search over all pairs of all beams, in float64, with Markov chains for priors."""
    chains = [prior.transition_matrix() for prior in posterior.priors]
    codes, score = torch.zeros(1, 2, 0, dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
    for frame in range(posterior.n_frames):
        tables = [
            initial.expand(len(codes), -1) if not frame else transition[codes[:, source, -1]]
            for source, (initial, transition) in enumerate(chains)
        ]
        values = dense_values(posterior.bound.at(frame, codes), len(codes))
        step = dense_step(*tables, values)
        joint = step.log_posterior + (step.log_evidence + score)[:, None, None]
        score, place = joint.flatten().topk(min(width, joint.numel()))
        n0, n1 = joint.shape[1:]
        row, pair = place // (n0 * n1), place % (n0 * n1)
        codes = torch.cat([codes[row], torch.stack([pair // n1, pair % n1], 1)[:, :, None]], 2)
    return codes, score


@pytest.mark.parametrize("width", [2, 7, 60])
@pytest.mark.parametrize("seed", range(4))
def test_beam_equals_dense_beam(width, seed):
    posterior = codebook_posterior(seed)
    codes, score = dense_beam(posterior, width)
    found = BeamSampler(width).sample(posterior, generator=generator(0))
    torch.testing.assert_close(found.log_posterior, score, atol=1e-5, rtol=0)
    # Sequences of equal score may come in another order, and at the end be others.
    apart = torch.ones(width, dtype=torch.bool)
    close = score.diff().abs() < 1e-5
    apart[1:] &= ~close
    apart[:-1] &= ~close
    apart[-1] = False
    assert apart.any()
    assert torch.equal(found.codes.transpose(0, 1)[apart], codes[apart])


def test_batched_candidates_of_a_sum_table_are_those_drawn_at_once():
    posterior = codebook_posterior(0)
    found = [
        AncestralSampler(16, batch_size=size).sample(posterior, generator=generator(3))
        for size in (4, 16)
    ]
    assert torch.equal(found[0].codes, found[1].codes)
    weight = found[0].log_posterior - found[0].log_proposal
    torch.testing.assert_close(weight, found[0].log_evidence, atol=1e-5, rtol=0)
