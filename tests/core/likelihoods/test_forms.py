"""The three frame likelihoods against a dense float64 reference written out in the log domain."""

import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lqsep.core.errors import ShapeError
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.likelihoods.dense import DenseLikelihood
from lqsep.core.likelihoods.sparse import SparseLikelihood
from lqsep.core.likelihoods.sum_table import SumTableIndex, SumTableLikelihood

KINDS = (
    "sum-shared",
    "sum-per-row",
    "sparse-impossible",
    "sparse-floor",
    "sparse-full",
    "dense-shared",
    "dense-per-row",
)
N_HYPOTHESES = 5

# Annotations checked at run time, an option of the test run, refuse wrong shapes first.
WRONG_SHAPE = (ShapeError, jaxtyping.TypeCheckError)
REFUSED = "|Type-check error"

# float32 sums over a few hundred terms: each of their logs is off by some 1e-7.
LOG_SUM_TOLERANCE = 2e-6


def make(
    kind: str, generator: torch.Generator, k0: int = 13, k1: int = 9, scale: float = 8.0
) -> tuple[FrameLikelihood, Tensor]:
    """A likelihood of ``N_HYPOTHESES`` hypotheses and its values ``[n_rows, k0, k1]``."""
    n_rows = N_HYPOTHESES if kind.endswith("per-row") else 1
    if kind.startswith("sum"):
        n_sums = 11
        table = torch.randint(0, n_sums - 2, (k0, k1), generator=generator, dtype=torch.int32)
        values = -scale * torch.rand(n_rows, n_sums, generator=generator).double() - 700
        # Two codes that no pair adds up to, one of them far above all others: neither counts.
        values[:, -1] = 1e4
        values[:, 0] = -torch.inf
        given = values if n_rows > 1 else values[0]
        return SumTableLikelihood(SumTableIndex(table, n_sums), given), values[:, table.long()]
    dense = scale * torch.randn(n_rows, k0, k1, generator=generator).double() + 40
    if kind.startswith("dense"):
        dense[:, 0, :2] = -torch.inf
        return DenseLikelihood(dense if n_rows > 1 else dense[0]), dense
    listed = torch.rand(k0, k1, generator=generator) < (1.1 if kind == "sparse-full" else 0.2)
    listed[1] = False
    if kind == "sparse-full":
        listed[:] = True
    floor = -math.inf if kind == "sparse-impossible" else float(dense.min()) - 0.5
    i, j = listed.nonzero(as_tuple=True)
    order = torch.randperm(len(i), generator=generator)
    i, j = i[order], j[order]
    dense = dense[0].masked_fill(~listed, floor)
    return SparseLikelihood((k0, k1), i, j, dense[i, j], floor), dense[None]


def log_priors(
    generator: torch.Generator, k0: int, k1: int, n: int = N_HYPOTHESES
) -> tuple[Tensor, Tensor]:
    a = torch.randn(n, k0, generator=generator).mul(2).log_softmax(1)
    b = torch.randn(n, k1, generator=generator).mul(2).log_softmax(1)
    return a, b


def row_logsum(dense: Tensor, log_p1: Tensor) -> Tensor:
    """The reference: ``[N, K0]`` from ``[1 or N, K0, K1]`` and ``[N, K1]``."""
    return (dense + log_p1.double()[:, None]).logsumexp(2)


def joint_total_variation(
    likelihood: FrameLikelihood, dense: Tensor, log_p0: Tensor, log_p1: Tensor
) -> tuple[float, float]:
    """Of the two-stage draw (row by `row_logsum`, column by `rows`), and its error of log Z."""
    n_hypotheses, k0 = log_p0.shape
    weights = log_p0.double() + likelihood.row_logsum(log_p0, log_p1)
    n = torch.arange(n_hypotheses).repeat_interleave(k0)
    i = torch.arange(k0).repeat(n_hypotheses)
    columns = likelihood.rows(n, i).view(n_hypotheses, k0, -1) + log_p1.double()[:, None]
    normaliser = columns.logsumexp(2, keepdim=True)
    conditional = torch.where(normaliser.isfinite(), columns - normaliser, -torch.inf)
    drawn = (weights.log_softmax(1)[:, :, None] + conditional).exp()
    exact = dense + log_p0.double()[:, :, None] + log_p1.double()[:, None]
    log_z = exact.logsumexp((1, 2))
    truth = (exact - log_z[:, None, None]).exp()
    total_variation = (drawn - truth).abs().sum((1, 2)).max() / 2
    return float(total_variation), float((weights.logsumexp(1) - log_z).abs().max())


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> tuple[FrameLikelihood, Tensor]:
    return make(request.param, torch.Generator().manual_seed(0))


def test_facts(case: tuple[FrameLikelihood, Tensor]) -> None:
    likelihood, dense = case
    assert likelihood.n_codes == (13, 9)
    assert likelihood.n_rows == len(dense)
    assert likelihood.upper.dtype == torch.float64
    torch.testing.assert_close(likelihood.upper, dense.amax((1, 2)), rtol=1e-15, atol=0)


def test_rows_at_and_bounds_are_exact(case: tuple[FrameLikelihood, Tensor]) -> None:
    likelihood, dense = case
    full = dense.expand(N_HYPOTHESES, -1, -1)
    # Hypotheses' numbers, out of order and repeated, also where one row serves all of them.
    n = torch.tensor([4, 0, 0, 3, 2, 1])
    i = torch.tensor([0, 12, 12, 1, 7, 3])
    j = torch.tensor([0, 8, 2, 1, 4, 8])
    # Values are kept relative to the best and put back: one rounding of float64.
    torch.testing.assert_close(likelihood.rows(n, i), full[n, i], rtol=1e-15, atol=0)
    found = likelihood.at(n, torch.stack([i, j], 1))
    torch.testing.assert_close(found, full[n, i, j], rtol=1e-15, atol=0)
    torch.testing.assert_close(likelihood.row_upper(), dense.amax(2), rtol=1e-15, atol=0)
    torch.testing.assert_close(likelihood.row_upper(), dense.amax(2), rtol=1e-15, atol=0)


def test_row_logsum(case: tuple[FrameLikelihood, Tensor]) -> None:
    likelihood, dense = case
    log_p0, log_p1 = log_priors(torch.Generator().manual_seed(1), 13, 9)
    found = likelihood.row_logsum(log_p0, log_p1)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, row_logsum(dense, log_p1), rtol=0, atol=LOG_SUM_TOLERANCE)


def test_row_logsum_of_a_subset_of_codes(case: tuple[FrameLikelihood, Tensor]) -> None:
    """Filtered priors: not normalised, most codes impossible."""
    likelihood, dense = case
    log_p0, log_p1 = log_priors(torch.Generator().manual_seed(2), 13, 9)
    log_p0[:, 8:] = -torch.inf
    log_p1[:, :4] = -torch.inf
    total_variation, error = joint_total_variation(likelihood, dense, log_p0, log_p1)
    assert total_variation < LOG_SUM_TOLERANCE
    assert error < LOG_SUM_TOLERANCE


@pytest.mark.parametrize("tau", [0.0, 1.0, 6.0, 30.0, math.inf])
def test_pairs(case: tuple[FrameLikelihood, Tensor], tau: float) -> None:
    likelihood, dense = case
    for n in (0, 3):
        values = dense[n if len(dense) > 1 else 0]
        i, j, found = likelihood.pairs(n, tau)
        expected = (values >= values.max() - tau) & values.isfinite()
        listed = torch.zeros_like(expected)
        listed[i, j] = True
        assert torch.equal(listed, expected)
        assert len(i) == int(expected.sum()), "a pair is listed twice"
        assert likelihood.n_pairs(n, tau) == len(i)
        torch.testing.assert_close(found, values[i, j], rtol=1e-15, atol=0)
        assert i.dtype == j.dtype == torch.int64


def test_pairs_hold_the_evidence_they_promise(case: tuple[FrameLikelihood, Tensor]) -> None:
    likelihood, dense = case
    log_p0, log_p1 = log_priors(torch.Generator().manual_seed(3), 13, 9)
    tau = 9.0
    i, j, values = likelihood.pairs(2, tau)
    kept = (log_p0[2, i].double() + log_p1[2, j] + values).exp().sum()
    exact = dense[2 if len(dense) > 1 else 0] + log_p0[2].double()[:, None] + log_p1[2]
    lost = exact.exp().sum() - kept
    assert 0 <= lost <= float((likelihood.upper[-1 if len(dense) == 1 else 2] - tau).exp())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("route", ["likelihood", "prior", "both"])
@pytest.mark.parametrize("gap", [50.0, 200.0, 1000.0])
def test_priors_and_likelihood_disagree(kind: str, route: str, gap: float) -> None:
    """What explains the frame has next to no prior: all that is left of it underflows somewhere.

    ``likelihood``: the priors exclude every good pair. ``prior``: only one column explains the
    frame, and its prior is small. ``both``: the two ways are equally probable.
    """
    generator = torch.Generator().manual_seed(4)
    k = 24
    good = torch.zeros(k, k, dtype=torch.bool)
    good[: k // 2, : k // 2] = True
    noise = torch.randn(N_HYPOTHESES, 2 * k, generator=generator).double()
    # Good pairs add up to a code of the first half, all others to one of the second.
    table = torch.randint(0, k, (k, k), generator=generator, dtype=torch.int32)
    table = torch.where(good, table, table + k)
    noise[:, k:] -= gap
    dense = noise[:, table.long()]
    prior_gap = {"likelihood": 2 * gap, "prior": gap / 2, "both": gap}[route]
    log_p0, log_p1 = log_priors(generator, k, k)
    log_p1[:, : k // 2] -= prior_gap
    log_p0, log_p1 = log_p0.log_softmax(1), log_p1.log_softmax(1)

    likelihood: FrameLikelihood
    if kind == "sum-per-row":
        likelihood = SumTableLikelihood(SumTableIndex(table, 2 * k), noise)
    elif kind == "sum-shared":
        dense = dense[:1]
        likelihood = SumTableLikelihood(SumTableIndex(table, 2 * k), noise[0])
    elif kind == "dense-per-row":
        likelihood = DenseLikelihood(dense)
    elif kind == "dense-shared":
        dense = dense[:1]
        likelihood = DenseLikelihood(dense[0])
    else:
        floor = {"sparse-floor": -gap, "sparse-impossible": -math.inf, "sparse-full": -2 * gap}[
            kind
        ]
        listed = good if kind == "sparse-floor" else torch.ones_like(good)
        i, j = listed.nonzero(as_tuple=True)
        dense = dense[0].masked_fill(~listed, floor)[None]
        likelihood = SparseLikelihood((k, k), i, j, dense[0, i, j], floor)
    total_variation, error = joint_total_variation(likelihood, dense, log_p0, log_p1)
    # The certificate allows 1e-6; float32 sums and float32 priors stay below as much again.
    assert total_variation < 2e-6
    assert error < 4e-6


@pytest.mark.parametrize("per_row", [False, True])
def test_disagreement_in_some_hypotheses_only(per_row: bool) -> None:
    """Hypotheses that need float64, the log domain or neither come out in their own places."""
    generator = torch.Generator().manual_seed(5)
    k = 16
    table = torch.arange(k, dtype=torch.int32)[:, None].expand(k, k).contiguous()
    values = torch.randn(N_HYPOTHESES if per_row else 1, k, generator=generator).double()
    values[:, k // 2 :] -= 2000.0
    values += 300.0 * torch.arange(len(values))[:, None]
    likelihood = SumTableLikelihood(SumTableIndex(table, k), values)
    log_p0, log_p1 = log_priors(generator, k, k)
    log_p0[2, : k // 2] = -torch.inf  # only codes 2000 nats below the best are left
    log_p0[4, : k // 2] -= 2100.0  # these outweigh the others, which do not underflow
    found = likelihood.row_logsum(log_p0, log_p1)
    expected = row_logsum(values[:, table.long()], log_p1)
    for hypothesis in (2, 4):
        torch.testing.assert_close(
            found[hypothesis, k // 2 :], expected[hypothesis, k // 2 :], rtol=1e-12, atol=0
        )
    others = [0, 1, 3]
    torch.testing.assert_close(
        found[others, : k // 2], expected[others, : k // 2], rtol=0, atol=LOG_SUM_TOLERANCE
    )


@pytest.mark.parametrize("per_row", [False, True])
def test_float64_comes_before_the_log_domain(per_row: bool) -> None:
    """Up to some 650 nats a second product does, without one exponential per pair."""
    generator = torch.Generator().manual_seed(8)
    k = 16
    table = torch.arange(k, dtype=torch.int32).expand(k, k).contiguous()
    values = torch.randn(N_HYPOTHESES if per_row else 1, k, generator=generator).double()
    values[:, 1:] -= 400.0
    log_p0, log_p1 = log_priors(generator, k, k)
    log_p1[1:3, 0] = -torch.inf
    likelihood = SumTableLikelihood(SumTableIndex(table, k), values)
    likelihood.rows = None  # type: ignore[method-assign, assignment]
    found = likelihood.row_logsum(log_p0, log_p1)
    expected = row_logsum(values[:, table.long()], log_p1)
    torch.testing.assert_close(found, expected, rtol=0, atol=LOG_SUM_TOLERANCE)


def test_nothing_is_possible() -> None:
    """No weight anywhere gives -inf, not nan: the caller raises EmptySupportError."""
    index = SumTableIndex(torch.tensor([[0, 1], [1, 1]], dtype=torch.int32), 2)
    log_p0 = torch.tensor([[0.0, -torch.inf], [-torch.inf, -torch.inf]])
    log_p1 = torch.tensor([[-torch.inf, 0.0], [-torch.inf, -torch.inf]])
    likelihoods: list[FrameLikelihood] = [
        SumTableLikelihood(index, torch.tensor([0.0, -torch.inf])),
        SumTableLikelihood(index, torch.full((2,), -torch.inf)),
        SparseLikelihood((2, 2), torch.tensor([0]), torch.tensor([0]), torch.zeros(1)),
        SparseLikelihood((2, 2), *torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0)),
        DenseLikelihood(torch.full((2, 2), -torch.inf)),
    ]
    for likelihood in likelihoods:
        assert (log_p0 + likelihood.row_logsum(log_p0, log_p1) == -torch.inf).all()
        assert likelihood.n_pairs(0, math.inf) <= 1
    assert likelihoods[1].pairs(0, math.inf)[0].shape == (0,)
    assert float(likelihoods[1].upper) == -math.inf


@pytest.mark.parametrize("scale", [2.0, 60.0, 400.0])
def test_large_codebook(scale: float) -> None:
    """2048 codes: float32 sums keep the row marginals to 1e-6 in total variation."""
    generator = torch.Generator().manual_seed(6)
    k = 2048
    table = torch.randint(0, k, (k, k), generator=generator, dtype=torch.int32)
    values = -scale * torch.rand(k, generator=generator).double()
    likelihood = SumTableLikelihood(SumTableIndex(table, k), values)
    log_p0, log_p1 = log_priors(generator, k, k, n=2)
    found = (log_p0.double() + likelihood.row_logsum(log_p0, log_p1)).softmax(1)
    dense = values[table]
    for n in range(2):
        exact = (log_p0[n].double() + (dense + log_p1[n]).logsumexp(1)).softmax(0)
        assert float((found[n] - exact).abs().sum()) / 2 < 1e-6


def test_rows_are_summed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the table is cut into blocks of rows, the result is the same."""
    generator = torch.Generator().manual_seed(7)
    log_p0, log_p1 = log_priors(generator, 13, 9)
    for kind in ("sum-shared", "sum-per-row"):
        whole, _ = make(kind, torch.Generator().manual_seed(0))
        expected, expected_upper = whole.row_logsum(log_p0, log_p1), whole.row_upper()
        with monkeypatch.context() as patch:
            patch.setattr(
                "lqsep.core.likelihoods.sum_table._BLOCK_CPU", 20
            )  # 2 of 13 rows, 1 left over
            cut, _ = make(kind, torch.Generator().manual_seed(0))
            torch.testing.assert_close(cut.row_logsum(log_p0, log_p1), expected, rtol=0, atol=1e-6)
            assert torch.equal(cut.row_upper(), expected_upper)


def test_repair_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lqsep.core.likelihoods.certificate._REPAIR_VALUES", 30)
    test_priors_and_likelihood_disagree("sum-per-row", "likelihood", 1000.0)


def test_the_inverse_table_is_shared() -> None:
    index = SumTableIndex(torch.tensor([[1, 0, 1], [2, 1, 0]], dtype=torch.int32), 4)
    first = SumTableLikelihood(index, torch.tensor([0.0, -5.0, -9.0, 3.0]))
    second = SumTableLikelihood(index, torch.tensor([-5.0, 0.0, -9.0, 3.0]))
    assert {(int(i), int(j)) for i, j in zip(*first.pairs(0, 1.0)[:2], strict=True)} == {
        (0, 1),
        (1, 2),
    }
    order = index._order
    assert len(second.pairs(0, 1.0)[0]) == 3
    assert index._order is order


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(KINDS),
    k0=st.integers(2, 40),
    k1=st.integers(2, 40),
    scale=st.sampled_from([0.0, 1.0, 30.0, 300.0, 3000.0]),
    peakedness=st.sampled_from([0.0, 1.0, 30.0, 300.0]),
    impossible=st.sampled_from([0.0, 0.5]),
)
def test_two_stage_draw_is_exact(
    seed: int, kind: str, k0: int, k1: int, scale: float, peakedness: float, impossible: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    likelihood, dense = make(kind, generator, k0, k1, scale)
    log_p0 = torch.randn(N_HYPOTHESES, k0, generator=generator).mul(peakedness).log_softmax(1)
    log_p1 = torch.randn(N_HYPOTHESES, k1, generator=generator).mul(peakedness).log_softmax(1)
    log_p0[torch.rand(log_p0.shape, generator=generator) < impossible] = -torch.inf
    log_p1[torch.rand(log_p1.shape, generator=generator) < impossible] = -torch.inf
    exact = dense + log_p0.double()[:, :, None] + log_p1.double()[:, None]
    possible = exact.logsumexp((1, 2)).isfinite()
    found = log_p0 + likelihood.row_logsum(log_p0, log_p1)
    assert not found.isnan().any()
    assert torch.equal(found.logsumexp(1).isfinite(), possible)
    if bool(possible.all()):
        total_variation, error = joint_total_variation(likelihood, dense, log_p0, log_p1)
        assert total_variation < 2e-6
        assert error < 4e-6


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (torch.zeros(2, 2, dtype=torch.int64), WRONG_SHAPE),
        (torch.zeros(4, dtype=torch.int32), WRONG_SHAPE),
        (torch.zeros(0, 2, dtype=torch.int32), WRONG_SHAPE),
        (torch.full((2, 2), 3, dtype=torch.int32), ValueError),
        (torch.full((2, 2), -1, dtype=torch.int32), ValueError),
    ],
)
def test_wrong_tables(table: Tensor, error) -> None:
    with pytest.raises(error, match="table of sums: expected" + REFUSED):
        SumTableIndex(table, 3)


def test_wrong_values() -> None:
    index = SumTableIndex(torch.zeros(2, 2, dtype=torch.int32), 3)
    for shape in ((2,), (0, 3), (1, 2, 3), ()):
        with pytest.raises(WRONG_SHAPE, match="expected 3 values" + REFUSED):
            SumTableLikelihood(index, torch.zeros(shape))
    for shape in ((2,), (0, 3), (2, 2, 2, 2)):
        with pytest.raises(WRONG_SHAPE, match="expected a matrix" + REFUSED):
            DenseLikelihood(torch.zeros(shape))


def test_wrong_lists() -> None:
    one, two = torch.tensor([1]), torch.tensor([0, 0])
    with pytest.raises(WRONG_SHAPE, match="three lists of one length" + REFUSED):
        SparseLikelihood((2, 2), one, two, torch.zeros(1))
    with pytest.raises(ValueError, match="listed twice"):
        SparseLikelihood((2, 2), two, two, torch.zeros(2))
    with pytest.raises(ValueError, match="outside"):
        SparseLikelihood((2, 2), torch.tensor([2]), one, torch.zeros(1))
    with pytest.raises(ValueError, match="at least the floor"):
        SparseLikelihood((2, 2), one, one, torch.tensor([-3.0]), floor=-2.0)
