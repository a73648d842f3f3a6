"""Codebooks beyond 4096 codes, where the published system stops: 2^24 pairs are its limit."""

import math
import resource

import pytest
import torch

from lqsep.core.inference.filters import Filters
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.likelihood import BoundLikelihood
from lqsep.core.likelihoods.sum_table import SumTableIndex, SumTableLikelihood
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.plugins.samplers.rejection import RejectionSampler
from lqsep.plugins.samplers.smc import SMCSampler
from lqsep.testing.toys import MarkovPrior

pytestmark = [pytest.mark.integration, pytest.mark.slow]

N_ROWS = 3


class TableBound(BoundLikelihood):
    """A random table, another value of every sum at each frame."""

    def __init__(self, table, values):
        self._index = SumTableIndex(table, values.shape[1])
        self._values = values
        self.n_frames = len(values)

    def at(self, frame, history):
        return SumTableLikelihood(self._index, self._values[frame])


class SameEachFrame(MarkovPrior):
    """One table whatever came before: K numbers instead of K x K."""

    def __init__(self, log_initial):
        super().__init__(log_initial, log_initial[None])

    def step(self, state, codes):
        return self.log_initial.expand(state[0], -1), state

    def select(self, state, rows):
        return len(rows), None

    def transition_matrix(self):
        return None


def table_posterior(n_codes, n_frames=2):
    rng = torch.Generator().manual_seed(0)
    table = torch.randint(n_codes, (n_codes, n_codes), generator=rng, dtype=torch.int32)
    values = torch.randn(n_frames, n_codes, generator=rng, dtype=torch.float64) * 4
    priors = [
        SameEachFrame((torch.randn(n_codes, generator=rng) * 2).log_softmax(0)) for _ in range(2)
    ]
    return SequencePosterior(priors, TableBound(table, values)), table, values


@pytest.fixture(scope="module", params=[4097, 8192])
def problem(request):
    return table_posterior(request.param)


def dense_row_sums(problem, frame):
    """``log sum_j exp(log p1 + log L)`` of every row, in float64, a few rows at a time."""
    posterior, table, values = problem
    log_p1 = posterior.priors[1].log_initial.double()
    parts = [(values[frame][rows.long()] + log_p1).logsumexp(1) for rows in table.split(256)]
    return torch.cat(parts)


def test_evidence_and_row_sums(problem):
    posterior, _, _ = problem
    log_p0 = posterior.priors[0].log_initial.double()
    state = posterior.start(N_ROWS)
    exact = dense_row_sums(problem, 0)
    evidence = float((log_p0 + exact).logsumexp(0))
    # float32 sums of K terms: measured some 1e-6.
    expected = torch.full((N_ROWS,), evidence, dtype=torch.float64)
    torch.testing.assert_close(posterior.log_evidence(state), expected, atol=1e-4, rtol=0)
    tables = [table.double() for table in state.tables]
    found = state.likelihood.row_logsum(*tables)
    assert found.shape == (N_ROWS, len(log_p0))
    weight = (log_p0 + exact).softmax(0)
    assert float(((log_p0 + found[0]).softmax(0) - weight).abs().sum()) / 2 < 1e-5


def test_draws_follow_the_rows(problem):
    """First codes fall into blocks of the codebook as the exact mass says."""
    posterior, _, _ = problem
    log_p0 = posterior.priors[0].log_initial.double()
    weight = (log_p0 + dense_row_sums(problem, 0)).softmax(0)
    n_draws = 400
    drawn = posterior.draw(
        posterior.start(1),
        torch.Generator().manual_seed(0),
        rows=torch.zeros(n_draws, dtype=torch.int64),
    )
    n_codes = len(log_p0)
    # Blocks of equal mass, by the order of the codes.
    block = (weight.cumsum(0) - weight / 2).mul(20).long().clamp(max=19)
    expected = torch.zeros(20, dtype=torch.float64).index_add(0, block, weight) * n_draws
    counts = torch.bincount(block[drawn.codes[:, 0]], minlength=20)
    keep = expected > 1
    statistic = float(((counts - expected)[keep].square() / expected[keep]).sum())
    freedom = (int(keep.sum()) - 1) / 2
    tail = torch.special.gammaincc(torch.tensor(freedom), torch.tensor(statistic / 2))
    # The seed is fixed: one in a thousand otherwise.
    assert float(tail) > 1e-3
    assert int(drawn.codes.max()) < n_codes and int(drawn.codes.max()) > n_codes * 3 // 4
    assert drawn.log_proposal.isfinite().all()


def test_joint_top_k_and_beam_find_the_best_pairs(problem):
    posterior, table, values = problem
    log_p0, log_p1 = (prior.log_initial.double() for prior in posterior.priors)
    # The best of each block of rows, and the best of these.
    best = (
        torch.cat(
            [
                (values[0][table[rows].long()] + log_p1 + log_p0[rows, None])
                .flatten()
                .topk(10)
                .values
                for rows in torch.arange(len(log_p0)).split(256)
            ]
        )
        .topk(10)
        .values
    )
    state = posterior.start(N_ROWS)
    filters = Filters(joint_top_k=10)
    evidence = posterior.log_evidence(state, filters)
    expected = torch.full((N_ROWS,), float(best.logsumexp(0)), dtype=torch.float64)
    torch.testing.assert_close(evidence, expected, atol=1e-9, rtol=0)
    found = BeamSampler(10).sample(
        SequencePosterior(posterior.priors, TableBound(table, values[:1])),
        generator=torch.Generator(),
    )
    torch.testing.assert_close(found.log_posterior, best, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "sampler",
    [
        AncestralSampler(4),
        AncestralSampler(4, filters=Filters(top_k=100, joint_top_k=50, joint_top_p=0.9)),
        BeamSampler(4),
        RejectionSampler(4, max_rounds=2),
        SMCSampler(4, n_particles=4, n_islands=2),
    ],
    ids=["ancestral", "filtered", "beam", "rejection", "smc"],
)
def test_samplers_run_without_listing_pairs_per_candidate(problem, sampler):
    posterior, table, values = problem
    # What the table keeps besides itself is made once, at the first use.
    posterior.draw(posterior.start(1), torch.Generator().manual_seed(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = sampler.sample(posterior, generator=torch.Generator().manual_seed(1))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    # One float32 matrix of the table's size would be 64 to 256 MB, one per candidate four times
    # that; blocks of the table take a few megabytes each.
    assert grown < table.numel() * 4
    assert found.codes.shape == (2, 4, 2) and int(found.codes.max()) < len(table)
    frames = torch.arange(2)
    sums = table[found.codes[0], found.codes[1]].long()
    expected = values[frames, sums].sum(1)
    torch.testing.assert_close(found.log_likelihood, expected, atol=1e-9, rtol=0)
    assert math.isfinite(float(found.log_posterior.sum()))
