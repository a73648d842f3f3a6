"""The threshold search against sorting every pair."""

import pytest
import torch

from lqsep.core.inference.filters import Filters
from lqsep.core.inference.joint_search import JointTable, pairs_kept
from lqsep.core.likelihoods.dense import DenseLikelihood
from lqsep.core.likelihoods.sum_table import SumTableIndex, SumTableLikelihood


def random_table(seed, n_rows=5, sizes=(7, 9), scale=3.0, shared=True, sums=False):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64) * scale

    if sums:
        index = SumTableIndex(
            torch.randint(5, sizes, generator=generator, dtype=torch.int32), n_sums=5
        )
        likelihood = SumTableLikelihood(index, normal(5))
    else:
        likelihood = DenseLikelihood(normal(*sizes) if shared else normal(n_rows, *sizes))
    return JointTable(
        likelihood,
        torch.arange(n_rows),
        normal(n_rows),
        normal(n_rows, sizes[0]).log_softmax(1),
        normal(n_rows, sizes[1]).log_softmax(1),
    )


def every_pair(table):
    """Scores ``rows K0 K1`` without any search."""
    n_rows = len(table.score)
    likelihood = torch.stack(
        [
            table.likelihood.rows(
                torch.full((table.log_p0.shape[1],), n), torch.arange(table.log_p0.shape[1])
            )
            for n in range(n_rows)
        ]
    )
    # Summed in the order of the search, so that scores at the threshold agree to the last bit.
    prior = (table.score[:, None] + table.log_p0)[:, :, None] + table.log_p1[:, None]
    return prior + likelihood


KINDS = [{}, {"shared": False}, {"sums": True}, {"scale": 0.1}, {"scale": 30.0}]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("k", [1, 2, 10, 100])
@pytest.mark.parametrize("rows_at_once", [1, 4, 10**4])
def test_best_equals_sorting(kind, k, rows_at_once, monkeypatch):
    monkeypatch.setattr("lqsep.core.inference.joint_search._PAIRS_AT_ONCE", rows_at_once * 9)
    monkeypatch.setattr("lqsep.core.inference.joint_search._PAIRS_AT_FIRST", 2 * 9)
    for seed in range(4):
        table = random_table(seed, **kind)
        found, scores = table.best(k), every_pair(table)
        expected = scores.flatten().sort(descending=True).values[:k]
        torch.testing.assert_close(found.score, expected, rtol=0, atol=0)
        own = scores[found.rows, found.codes[:, 0], found.codes[:, 1]]
        torch.testing.assert_close(own, found.score, rtol=0, atol=0)
        places = found.rows * 63 + found.codes[:, 0] * 9 + found.codes[:, 1]
        assert len(places.unique()) == k


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_above_equals_comparing(kind):
    for seed in range(4):
        table = random_table(seed, **kind)
        scores = every_pair(table)
        threshold = float(scores.flatten().quantile(0.9, interpolation="nearest"))
        found = table.above(threshold)
        assert len(found) == int((scores >= threshold).sum()) > 0
        assert (found.score >= threshold).all()
        own = scores[found.rows, found.codes[:, 0], found.codes[:, 1]]
        torch.testing.assert_close(own, found.score, rtol=0, atol=0)


def test_search_looks_at_few_rows(monkeypatch):
    """With chunks of four rows a peaked table is done after the first ones."""
    monkeypatch.setattr("lqsep.core.inference.joint_search._PAIRS_AT_ONCE", 4 * 64)
    monkeypatch.setattr("lqsep.core.inference.joint_search._PAIRS_AT_FIRST", 4 * 64)
    table = random_table(0, n_rows=8, sizes=(64, 64), scale=5.0)
    # Nearly flat, so that the bound has to know how low its best is.
    table.log_p1.div_(1000).copy_(table.log_p1.log_softmax(1))
    evaluated = []
    rows = table.likelihood.rows

    def counting(n, i):
        evaluated.append(len(n))
        return rows(n, i)

    best = float(every_pair(table).max())
    table.likelihood.rows = counting
    assert float(table.best(1).score) == best
    bound = table.score[:, None] + table.log_p0 + table.log_p1.amax(1)[:, None]
    needed = int((bound + table.likelihood.row_upper() > best).sum())
    # Besides the first chunk only rows that could have held a better pair.
    assert needed < 40 and sum(evaluated) <= needed + 4


def test_equal_scores_come_in_the_order_of_row_and_codes():
    zeros = torch.zeros(2, 3, dtype=torch.float64)
    table = JointTable(
        DenseLikelihood(torch.zeros(3, 3)), torch.arange(2), zeros[:, 0], zeros, zeros
    )
    found = table.best(18)
    places = found.rows * 9 + found.codes[:, 0] * 3 + found.codes[:, 1]
    assert places.tolist() == list(range(18))
    for k in range(1, 18):
        assert len(table.best(k)) == k
    assert len(table.above(0.0)) == 18


def test_impossible_pairs_are_never_given():
    table = random_table(3)
    table.log_p0[:, 2:] = float("-inf")
    table.log_p1[0] = float("-inf")
    table.log_p1[:, 4:] = float("-inf")
    found = table.best(1000)
    assert len(found) == 4 * 2 * 4 == len(table.above(float("-inf")))
    assert (found.rows > 0).all() and (found.codes < torch.tensor([2, 4])).all()
    table.score.fill_(float("-inf"))
    assert len(table.best(5)) == 0


@pytest.mark.parametrize("k", [1, 5, 40, 1000])
def test_joint_top_k(k):
    for seed in range(3):
        table = random_table(seed, n_rows=1)
        table.score.zero_()
        scores = every_pair(table).flatten()
        kept = pairs_kept(table, float(scores.logsumexp(0)), Filters(joint_top_k=k))
        expected = scores.sort(descending=True).values[:k]
        torch.testing.assert_close(kept.score, expected, rtol=0, atol=0)


def test_joint_top_k_keeps_ties():
    values = torch.zeros(3, 4)
    values[1, 1], values[2, 2] = 2.0, 1.0
    uniform = torch.zeros(1, 4, dtype=torch.float64)
    table = JointTable(
        DenseLikelihood(values), torch.arange(1), uniform[:, 0], uniform[:, :3], uniform
    )
    log_evidence = float(values.flatten().logsumexp(0))
    assert len(pairs_kept(table, log_evidence, Filters(joint_top_k=2))) == 2
    assert len(pairs_kept(table, log_evidence, Filters(joint_top_k=3))) == 12


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("scale", [0.1, 2.0])
def test_joint_top_p(top_p, scale, monkeypatch):
    # So that the list has to grow.
    monkeypatch.setattr("lqsep.core.inference.joint_search._FIRST_PAIRS", 2)
    for seed in range(3):
        table = random_table(seed, n_rows=1, scale=scale)
        table.score.zero_()
        scores = every_pair(table).flatten().sort(descending=True).values
        kept = pairs_kept(table, float(scores.logsumexp(0)), Filters(joint_top_p=top_p))
        mass = (kept.score - scores.logsumexp(0)).exp()
        # The last pair is the one that reaches the share.
        assert float(mass.sum()) >= top_p > float(mass[:-1].sum())
        torch.testing.assert_close(kept.score, scores[: len(kept)], rtol=0, atol=0)


def test_joint_top_p_works_on_what_top_k_leaves():
    table = random_table(0, n_rows=1, scale=0.5)
    table.score.zero_()
    scores = every_pair(table).flatten().sort(descending=True).values
    both = Filters(joint_top_k=10, joint_top_p=0.5)
    kept = pairs_kept(table, float(scores.logsumexp(0)), both)
    share = scores[:10].softmax(0).cumsum(0)
    assert len(kept) == int((share < 0.5).sum()) + 1 < 10
