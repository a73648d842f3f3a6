"""The bilinear likelihood against every pair's value written out and summed in the log domain."""

import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lqsep.core.errors import ShapeError
from lqsep.core.inference.filters import Filters
from lqsep.core.inference.frame_distribution import FrameDistribution
from lqsep.core.likelihoods.bilinear import BilinearLikelihood, GramMatrix
from lqsep.core.likelihoods.dense import DenseLikelihood

KINDS = ("shared", "gram", "large-gram", "per-row", "per-row-gram", "one-row")
N_HYPOTHESES = 5

# Sums of products in another order, on values of some thousands.
VALUE_TOLERANCE = 1e-9

# float32 sums over a few hundred terms, and 1e-6 of the evidence lost at most.
LOG_SUM_TOLERANCE = 2e-6

# Annotations checked at run time, an option of the test run, refuse wrong shapes first.
WRONG_SHAPE = (ShapeError, jaxtyping.TypeCheckError)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make(
    kind: str,
    generator: torch.Generator,
    k0: int = 13,
    k1: int = 9,
    scale: float = 3.0,
    impossible: bool = False,
) -> tuple[BilinearLikelihood, Tensor]:
    """A likelihood and its values ``[n_rows, k0, k1]``."""
    n = N_HYPOTHESES if kind.startswith("per-row") else 1
    n_vectors = 1 if kind.endswith("gram") else n
    u, v = scale**2 * normal(generator, n, k0) + 400, scale**2 * normal(generator, n, k1) - 90
    x, y = scale * normal(generator, n_vectors, k0, 4), scale * normal(generator, n_vectors, k1, 4)
    if impossible:
        u[:, 0] = -torch.inf
        v[:, 1:3] = -torch.inf
    dense = u[:, :, None] + v[:, None] + x @ y.mT
    if kind == "shared":
        return BilinearLikelihood(u[0], v[0], x[0], y[0]), dense
    if not kind.endswith("gram"):
        return BilinearLikelihood(u, v, x, y), dense
    gram = GramMatrix(x[0], y[0], most_stored=0 if kind == "large-gram" else 1 << 24)
    return BilinearLikelihood(u if n > 1 else u[0], v, x[0], y[0], gram=gram), dense


def log_priors(
    generator: torch.Generator, k0: int, k1: int, scale: float = 2.0
) -> tuple[Tensor, Tensor]:
    tables = [normal(generator, N_HYPOTHESES, k).mul(scale).log_softmax(1) for k in (k0, k1)]
    return tables[0], tables[1]


def compare_two_stage_draw(
    likelihood: BilinearLikelihood, dense: Tensor, log_p0: Tensor, log_p1: Tensor
) -> None:
    """Evidence and marginals of the rows are those of all pairs listed."""
    joint = dense + log_p0[:, :, None] + log_p1[:, None]
    found = log_p0 + likelihood.row_logsum(log_p0, log_p1)
    evidence = joint.logsumexp((1, 2))
    possible = evidence.isfinite()
    assert found.dtype == torch.float64
    assert not found.isnan().any()
    assert torch.equal(found.logsumexp(1).isfinite(), possible)
    error = (found.logsumexp(1) - evidence)[possible].abs()
    distance = (found.softmax(1) - joint.logsumexp(2).softmax(1))[possible].abs().sum(1) / 2
    assert (error < LOG_SUM_TOLERANCE).all()
    assert (distance < LOG_SUM_TOLERANCE).all()


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> tuple[BilinearLikelihood, Tensor]:
    return make(request.param, torch.Generator().manual_seed(0), impossible=True)


def test_values_and_bounds(case: tuple[BilinearLikelihood, Tensor]) -> None:
    likelihood, dense = case
    assert likelihood.n_codes == (13, 9)
    assert likelihood.n_rows == len(dense)
    full = dense.expand(N_HYPOTHESES, -1, -1)
    # Hypotheses' numbers, out of order and repeated, also where one row serves all of them.
    n = torch.tensor([4, 0, 0, 3, 2, 1])
    i = torch.tensor([0, 12, 12, 1, 7, 3])
    j = torch.tensor([0, 8, 2, 1, 4, 8])
    close = {"rtol": VALUE_TOLERANCE, "atol": 0}
    torch.testing.assert_close(likelihood.rows(n, i), full[n, i], **close)
    torch.testing.assert_close(likelihood.at(n, torch.stack([i, j], 1)), full[n, i, j], **close)
    torch.testing.assert_close(likelihood.row_upper(), dense.amax(2), **close)
    torch.testing.assert_close(likelihood.upper, dense.amax((1, 2)), **close)
    assert likelihood.rows(n[:0], i[:0]).shape == (0, 9)


def test_row_logsum(case: tuple[BilinearLikelihood, Tensor]) -> None:
    likelihood, dense = case
    log_p0, log_p1 = log_priors(torch.Generator().manual_seed(1), 13, 9)
    compare_two_stage_draw(likelihood, dense, log_p0, log_p1)
    log_p0[:, 8:] = -torch.inf
    log_p1[:, :4] = -torch.inf
    compare_two_stage_draw(likelihood, dense, log_p0, log_p1)
    log_p1[2] = -torch.inf
    compare_two_stage_draw(likelihood, dense, log_p0, log_p1)


@pytest.mark.parametrize("tau", [0.0, 1.0, 30.0, 1e4, math.inf])
def test_pairs(case: tuple[BilinearLikelihood, Tensor], tau: float) -> None:
    likelihood, dense = case
    for n in (0, 3):
        values = dense[n if len(dense) > 1 else 0]
        i, j, found = likelihood.pairs(n, tau)
        # The best pair itself must not be lost to rounding.
        expected = (values >= values.max() - tau - 1e-9) & values.isfinite()
        listed = torch.zeros_like(expected)
        listed[i, j] = True
        assert torch.equal(listed, expected)
        assert len(i) == int(expected.sum()) == likelihood.n_pairs(n, tau)
        torch.testing.assert_close(found, values[i, j], rtol=VALUE_TOLERANCE, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap", [40.0, 300.0, 3000.0])
def test_priors_and_likelihood_disagree(kind: str, gap: float) -> None:
    """Every good pair has next to no prior: what is left underflows, in float64 too at last."""
    generator = torch.Generator().manual_seed(2)
    likelihood, dense = make(kind, generator, 24, 24, scale=math.sqrt(gap) / 3)
    log_p0, log_p1 = log_priors(generator, 24, 24)
    log_p1 -= gap * (dense.amax(1) > dense.amax(1).median(1, keepdim=True).values)
    compare_two_stage_draw(likelihood, dense, log_p0, log_p1.log_softmax(1))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(KINDS),
    k0=st.integers(1, 40),
    k1=st.integers(3, 40),
    scale=st.sampled_from([0.0, 0.3, 2.0, 6.0, 20.0, 60.0]),
    peakedness=st.sampled_from([0.0, 1.0, 30.0, 300.0]),
    impossible=st.booleans(),
)
def test_agrees_with_the_dense_likelihood(
    seed: int, kind: str, k0: int, k1: int, scale: float, peakedness: float, impossible: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    likelihood, dense = make(kind, generator, k0, k1, scale, impossible)
    log_p0, log_p1 = log_priors(generator, k0, k1, peakedness)
    if impossible:
        log_p1[torch.rand(log_p1.shape, generator=generator) < 0.5] = -torch.inf
    compare_two_stage_draw(likelihood, dense, log_p0, log_p1)
    n = torch.arange(N_HYPOTHESES)
    i = torch.randint(k0, (N_HYPOTHESES,), generator=generator)
    expected = DenseLikelihood(dense)
    torch.testing.assert_close(
        likelihood.rows(n, i), expected.rows(n, i), rtol=VALUE_TOLERANCE, atol=VALUE_TOLERANCE
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filters", [Filters(), Filters(joint_top_k=5), Filters(joint_top_p=0.7)])
def test_samplers_choose_as_with_the_dense_likelihood(kind: str, filters: Filters) -> None:
    generator = torch.Generator().manual_seed(3)
    likelihood, dense = make(kind, generator, scale=1.0)
    tables = log_priors(generator, 13, 9)
    found = FrameDistribution(likelihood, tables, filters)
    expected = FrameDistribution(DenseLikelihood(dense), tables, filters)
    torch.testing.assert_close(
        found.log_evidence, expected.log_evidence, rtol=0, atol=LOG_SUM_TOLERANCE
    )
    uniform = torch.rand(N_HYPOTHESES, 2, generator=generator, dtype=torch.float64)
    assert torch.equal(found.draw(uniform), expected.draw(uniform))
    score = normal(generator, N_HYPOTHESES)
    for ours, theirs in zip(found.best(score, 7), expected.best(score, 7), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_made_in_blocks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a matrix is cut into blocks of rows, the result is the same."""
    monkeypatch.setattr("lqsep.core.likelihoods.bilinear._BLOCK_CPU", 20)  # 2 of 13, 1 left over
    case = make(kind, torch.Generator().manual_seed(0), impossible=True)
    test_values_and_bounds(case)
    test_row_logsum(case)
    test_pairs(case, 30.0)


def test_the_shared_matrix_is_enough_where_nothing_underflows() -> None:
    """One product, without a matrix of the frame: what makes a frame cheap."""
    likelihood, dense = make("gram", torch.Generator().manual_seed(4), scale=1.0)
    likelihood._matrix = None  # type: ignore[method-assign, assignment]
    compare_two_stage_draw(likelihood, dense, *log_priors(torch.Generator().manual_seed(5), 13, 9))


def test_wrong_shapes() -> None:
    u, v, x, y = torch.zeros(3), torch.zeros(4), torch.zeros(3, 2), torch.zeros(4, 2)
    wrong = [
        (v, u, x, y),
        (u, v, x, y[:, :1]),
        (u[:0], v, x[:0], y),
        (u.expand(2, 3), v.expand(5, 4), x, y),
        (u, v, x[None, None], y),
        (torch.zeros(()), v, x, y),
    ]
    for parts in wrong:
        with pytest.raises(WRONG_SHAPE, match="bilinear likelihood: expected terms|Type-check"):
            BilinearLikelihood(*parts)
    with pytest.raises(ShapeError, match="Gram matrix of"):
        BilinearLikelihood(u, v, x, y, gram=GramMatrix(y, x))
    with pytest.raises(ShapeError, match="shared by all hypotheses"):
        BilinearLikelihood(u, v, x.expand(2, 3, 2), y, gram=GramMatrix(x, y))
    with pytest.raises(WRONG_SHAPE, match="vectors of one size|Type-check"):
        GramMatrix(x, torch.zeros(4, 3))
