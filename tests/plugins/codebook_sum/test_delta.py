"""The likelihood ``delta``: its values, every number of right pairs, the reference's values."""

import math
from pathlib import Path

import pytest
import torch

from lqsep.core.components.assemble import build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.plugins.codebook_sum import plugin
from lqsep.plugins.codebook_sum.config import DeltaConfig
from lqsep.plugins.codebook_sum.delta import BoundDelta, DeltaLikelihood
from lqsep.plugins.codebook_sum.table import SumTable, build_sum_table, save_table
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import LikelihoodContract
from lqsep.testing.toys import AddingCodec

GAINS = (0.7, 0.3)
NO_HISTORY = torch.zeros(1, 2, 0, dtype=torch.int64)

# They take 1 - 0.9999 in float32, too large by a share of 1.65e-4, which its logarithm adds.
REFERENCE_TOLERANCE = 1.7e-4


def codebook(size: int = 12, dim: int = 3) -> torch.Tensor:
    return torch.randn(size, dim, generator=torch.Generator().manual_seed(0))


def encoded(*codes: int) -> EncodedMixture:
    latents = torch.full((len(codes), 3), torch.nan)  # not to be looked at
    return EncodedMixture(torch.zeros(1, 64 * len(codes)), latents, torch.tensor(codes), 1.0)


def values(bound: BoundDelta, frame: int, size: int) -> torch.Tensor:
    codes = torch.arange(size)
    return bound.at(frame, NO_HISTORY).rows(torch.zeros_like(codes), codes)


class TestDelta(LikelihoodContract):
    gains = GAINS

    def make(self) -> DeltaLikelihood:
        return DeltaLikelihood(codebook())

    def make_encoded(self) -> EncodedMixture:
        return encoded(0, 5, 11, 5)


def bound_to(table: list[list[int]], *codes: int, mass: float = 0.9) -> BoundDelta:
    """A likelihood with a table of one's own."""
    stored = SumTable(torch.tensor(table, dtype=torch.int32), GAINS, "codec")
    likelihood = DeltaLikelihood(codebook(len(table)), mass=mass, table=stored)
    return likelihood.bind(encoded(*codes), GAINS)


def test_right_pairs_share_the_mass() -> None:
    """Row 0, column 2 is not row 2, column 0."""
    bound = bound_to([[1, 1, 2], [0, 0, 0], [0, 0, 0]], 1, 2)
    found = values(bound, 0, 3).exp()
    expected = torch.full((3, 3), 0.1 / 7, dtype=torch.float64)
    expected[0, :2] = 0.9 / 2
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    found = values(bound, 1, 3).exp()
    expected = torch.full((3, 3), 0.1 / 8, dtype=torch.float64)
    expected[0, 2] = 0.9
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(bound.frames(1, 2)[0].exp(), expected, rtol=1e-12, atol=0)
    assert bound.at(1, NO_HISTORY).n_pairs(0, 0.0) == 1


def test_no_pair_or_every_pair_has_the_sum() -> None:
    """Then the frame says nothing."""
    bound = bound_to([[1, 1], [1, 1]], 0, 1)
    for frame in range(2):
        found = values(bound, frame, 2)
        torch.testing.assert_close(found, torch.full_like(found, -math.log(4)))
    log_p = torch.tensor([[0.25, 0.75]]).log()
    found = bound.at(0, NO_HISTORY).row_logsum(log_p, log_p)
    torch.testing.assert_close(found, torch.full_like(found, -math.log(4)))


def test_reference_values(golden) -> None:
    """Of the obvious repair: the reference itself sets two wrong entries, see its faults.

    Its matrices are [x_1, x_0].
    """
    recorded = golden.npz("posterior")
    vectors = torch.from_numpy(golden.npz("codec")["codebook_l2"])
    table = torch.from_numpy(golden.npz("codebook_sums")["sums"]).int()
    likelihood = DeltaLikelihood(vectors, table=SumTable(table, (0.5, 0.5), "golden"))
    codes = torch.from_numpy(recorded["mix_codes"][0]).long()
    bound = likelihood.bind(
        EncodedMixture(torch.zeros(1, 4096), torch.zeros(64, vectors.shape[1]), codes, 1.0),
        (0.5, 0.5),
    )
    for place, step in enumerate(recorded["delta_steps"].tolist()):
        found = values(bound, step, 64)
        expected = torch.from_numpy(recorded["delta_log_likelihood_intended"][place]).double().T
        torch.testing.assert_close(found, expected, rtol=0, atol=REFERENCE_TOLERANCE)
        original = torch.from_numpy(recorded["delta_log_likelihood_original"][place]).double().T
        assert float((found - original).abs().max()) > 10
        assert bound.at(step, NO_HISTORY).n_pairs(0, 0.1) == recorded["delta_n_factors"][step]


def test_reference_posterior(golden) -> None:
    """What our values leave of it is a term per code of each source: the priors."""
    recorded = golden.npz("posterior")
    vectors = torch.from_numpy(golden.npz("codec")["codebook_l2"])
    table = torch.from_numpy(golden.npz("codebook_sums")["sums"]).int()
    likelihood = DeltaLikelihood(vectors, table=SumTable(table, (0.5, 0.5), "golden"))
    codes = torch.from_numpy(recorded["mix_codes"][0]).long()
    bound = likelihood.bind(
        EncodedMixture(torch.zeros(1, 4096), torch.zeros(64, vectors.shape[1]), codes, 1.0),
        (0.5, 0.5),
    )
    for place, step in enumerate(recorded["delta_steps"].tolist()):
        posterior = torch.from_numpy(recorded["delta_log_posterior_intended"][place]).double().T
        rest = posterior - values(bound, step, 64)
        rest = rest - rest.mean(0, keepdim=True)
        rest = rest - rest.mean(1, keepdim=True)
        assert float(rest.abs().max()) < REFERENCE_TOLERANCE


def test_large_codebooks() -> None:
    """Values do not depend on the number of codes; pairs are not listed above 512."""
    size = 600
    table = torch.zeros(size, size, dtype=torch.int32)
    table[3, 4] = 7
    likelihood = DeltaLikelihood(codebook(size), table=SumTable(table, GAINS, "codec"))
    bound = likelihood.bind(encoded(7), GAINS)
    assert bound.frames(0, 1) is None
    frame = bound.at(0, NO_HISTORY)
    assert [part.tolist() for part in frame.pairs(0, 1.0)[:2]] == [[3], [4]]
    assert float(frame.upper) == pytest.approx(math.log(0.9999))


def test_what_does_not_fit() -> None:
    likelihood = DeltaLikelihood(codebook())
    with pytest.raises(
        IncompatibleComponentsError, match="'delta': separation works on 2 sources, got 3"
    ):
        likelihood.bind(encoded(0), (0.3, 0.3, 0.4))
    without_codes = EncodedMixture(torch.zeros(1, 256), torch.zeros(4, 3), None, 1.0)
    with pytest.raises(IncompatibleComponentsError, match="'delta': the codec gives no codes"):
        likelihood.bind(without_codes, GAINS)
    table = SumTable(torch.zeros(11, 11, dtype=torch.int32), GAINS, "codec")
    with pytest.raises(CheckpointError, match="'delta': expected a table of sums for 12 codes"):
        DeltaLikelihood(codebook(), table=table)
    for mass in (0.0, 1.0):
        with pytest.raises(ValueError, match="mass"):
            DeltaConfig(mass=mass)


def test_build(tmp_path: Path) -> None:
    codec = AddingCodec((0.0, 0.25, 0.5))
    context = build_context(tmp_path, gains=GAINS, codec=codec)
    registered = Registry.from_plugins(codebook_sum=plugin).find(Kind.LIKELIHOOD, "delta")
    built = build(registered, DeltaConfig(mass=0.5), context).bind(encoded(0, 1, 2), GAINS)
    assert built.at(0, NO_HISTORY).upper.isfinite()
    vectors = torch.tensor([[0.0], [0.25], [0.5]])
    expected = DeltaLikelihood(
        vectors, mass=0.5, table=SumTable(build_sum_table(vectors, GAINS), GAINS, "codec")
    )
    assert torch.equal(built.frames(0, 3), expected.bind(encoded(0, 1, 2), GAINS).frames(0, 3))
    table = torch.full((3, 3), 2, dtype=torch.int32)
    save_table(tmp_path / "sums.safetensors", table, GAINS, codec.fingerprint)
    config = DeltaConfig(table="sums.safetensors")
    stored = build(registered, config, context).bind(encoded(2), GAINS)
    assert stored.at(0, NO_HISTORY).n_pairs(0, 0.0) == 9, "all sums are code 2"
    with pytest.raises(CheckpointError, match="no table of code sums"):
        build(registered, DeltaConfig(table="none.safetensors"), context)
