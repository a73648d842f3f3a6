"""The likelihood ``codebook-sum``: its values, its tables, and the reference's posterior."""

from pathlib import Path

import pytest
import torch

from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.plugins.codebook_sum import plugin
from lqsep.plugins.codebook_sum.config import CodebookSumConfig
from lqsep.plugins.codebook_sum.likelihood import BoundCodebookSum, CodebookSumLikelihood
from lqsep.plugins.codebook_sum.table import SumTable, build_sum_table, save_table
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import LikelihoodContract
from lqsep.testing.toys import AddingCodec

GAINS = (0.7, 0.3)
NO_HISTORY = torch.zeros(1, 2, 0, dtype=torch.int64)

# The reference computes in float32, on values down to about -1e3.
REFERENCE_TOLERANCE = 4.2e-4


def codebook(size: int = 12, dim: int = 3) -> torch.Tensor:
    return torch.randn(size, dim, generator=torch.Generator().manual_seed(0))


def encoded(n_frames: int = 4, dim: int = 3, size: int = 12) -> EncodedMixture:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(n_frames, dim, generator=generator)
    codes = torch.randint(0, size, (n_frames,), generator=generator)
    return EncodedMixture(torch.zeros(1, 64 * n_frames), latents, codes, 1.0)


class TestQuantised(LikelihoodContract):
    def make(self) -> CodebookSumLikelihood:
        return CodebookSumLikelihood(codebook(), sigma=0.3)

    def make_encoded(self) -> EncodedMixture:
        return encoded()


class TestUnquantised(LikelihoodContract):
    gains = GAINS

    def make(self) -> CodebookSumLikelihood:
        return CodebookSumLikelihood(codebook(), sigma=0.05, target="unquantised")

    def make_encoded(self) -> EncodedMixture:
        return encoded()


@pytest.mark.parametrize("target", ["quantised", "unquantised"])
def test_values(target) -> None:
    vectors, mixture = codebook(), encoded()
    bound = CodebookSumLikelihood(vectors, sigma=0.3, target=target).bind(mixture, GAINS)
    sums = GAINS[0] * vectors[:, None] + GAINS[1] * vectors[None]
    nearest = torch.cdist(sums, vectors.expand(12, -1, -1)).argmin(2)
    assert bound.n_frames == 4
    for frame in range(4):
        centre = vectors[mixture.codes[frame]] if target == "quantised" else mixture.latents[frame]
        expected = -(vectors[nearest] - centre).double().square().sum(2) / (2 * 0.3**2)
        codes = torch.arange(12)
        found = bound.at(frame, NO_HISTORY).rows(torch.zeros_like(codes), codes)
        # Distances of float32 vectors, here taken before and there after going to float64.
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(bound.frames(frame, frame + 1)[0], found, rtol=1e-12, atol=0)
    assert bound.frames(2, 2).shape == (0, 12, 12)


def test_large_codebooks_are_not_listed() -> None:
    index_free = CodebookSumLikelihood(codebook(513, 2)).bind(encoded(1, 2), (0.5, 0.5))
    assert index_free.frames(0, 1) is None
    assert CodebookSumLikelihood(codebook(512, 2)).bind(encoded(1, 2), GAINS).frames(
        0, 1
    ).shape == (
        1,
        512,
        512,
    )


def golden_bound(golden, table: torch.Tensor, gains, sigma: float | None = None):
    """Our likelihood with a given table, bound to the recorded mixture's codes."""
    recorded = golden.npz("posterior")
    vectors = torch.from_numpy(golden.npz("codec")["codebook_l2"])
    likelihood = CodebookSumLikelihood(
        vectors,
        sigma=float(recorded["sigma"]) if sigma is None else sigma,
        table=SumTable(table.int(), gains, "golden"),
    )
    codes = torch.from_numpy(recorded["mix_codes"][0]).long()
    latents = torch.full((len(codes), vectors.shape[1]), torch.nan)  # not to be looked at
    return likelihood.bind(EncodedMixture(torch.zeros(1, 4096), latents, codes, 1.0), gains)


def all_rows(bound: BoundCodebookSum, step: int) -> torch.Tensor:
    codes = torch.arange(64)
    return bound.at(step, NO_HISTORY).rows(torch.zeros_like(codes), codes)


def check_posterior(bound: BoundCodebookSum, step: int, log_p_0, log_p_1, expected) -> None:
    """The normalised joint, and the rows' marginals as the two-stage draw has them.

    ``expected`` is the recorded posterior, [chains, x_1, x_0] as the reference lays it out.
    """
    expected = torch.from_numpy(expected).double().transpose(1, 2)
    log_p_0, log_p_1 = torch.from_numpy(log_p_0), torch.from_numpy(log_p_1)
    joint = log_p_0[:, :, None] + log_p_1[:, None] + all_rows(bound, step)
    joint = joint - joint.logsumexp((1, 2), keepdim=True)
    possible = expected > -torch.inf
    torch.testing.assert_close(
        joint[possible], expected[possible], rtol=0, atol=REFERENCE_TOLERANCE
    )
    likelihood = bound.at(step, NO_HISTORY)
    marginal = (log_p_0 + likelihood.row_logsum(log_p_0, log_p_1)).softmax(1)
    torch.testing.assert_close(marginal, expected.exp().sum(2), rtol=0, atol=1e-4)


def test_reference_posterior(golden) -> None:
    recorded = golden.npz("posterior")
    table = torch.from_numpy(golden.npz("codebook_sums")["sums"])
    bound = golden_bound(golden, table, (0.5, 0.5))
    for place, step in enumerate(recorded["latent_steps"].tolist()):
        expected = torch.from_numpy(recorded["latent_log_likelihood"][place]).double().T
        torch.testing.assert_close(
            all_rows(bound, step), expected, rtol=0, atol=REFERENCE_TOLERANCE
        )
        check_posterior(
            bound,
            step,
            *(recorded[f"latent_log_p_{source}"][place] for source in (0, 1)),
            recorded["latent_log_posterior"][place],
        )


def test_reference_posterior_with_unequal_gains(golden) -> None:
    """The reference weighs source 0 by its second factor: alpha .3/.7 there is .7/.3 here."""
    recorded, sums = golden.npz("posterior"), golden.npz("codebook_sums")
    step = int(recorded["asym_step"])
    expected = torch.from_numpy(recorded["asym_log_likelihood"]).double().T
    bound = golden_bound(golden, torch.from_numpy(sums["sums_a37"]).T, GAINS)
    found = all_rows(bound, step)
    torch.testing.assert_close(found, expected, rtol=0, atol=REFERENCE_TOLERANCE)
    # What our values leave of the recorded posterior is a prior of each source: a term per row
    # and a term per column.
    posterior = torch.from_numpy(recorded["asym_log_posterior"]).double().transpose(1, 2)
    rest = posterior - found
    rest = rest - rest.mean(1, keepdim=True)
    rest = rest - rest.mean(2, keepdim=True)
    assert float(rest.abs().max()) < REFERENCE_TOLERANCE
    # The table that we build ourselves, where rounding did not decide theirs.
    vectors = torch.from_numpy(golden.npz("codec")["codebook_l2"])
    built = golden_bound(golden, build_sum_table(vectors, GAINS), GAINS)
    untied = ~torch.from_numpy(sums["tied_a37"]).T
    torch.testing.assert_close(
        all_rows(built, step)[untied], expected[untied], rtol=0, atol=REFERENCE_TOLERANCE
    )


def test_sums_are_computed_once_per_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def count(vectors, gains):
        calls.append(gains)
        return build_sum_table(vectors, gains)

    monkeypatch.setattr("lqsep.plugins.codebook_sum.likelihood.build_sum_table", count)
    likelihood = CodebookSumLikelihood(codebook())
    for gains in (GAINS, [0.7, 0.3], (0.3, 0.7), (0.3, 0.7)):
        likelihood.bind(encoded(), gains)
    assert calls == [(0.7, 0.3), (0.3, 0.7)]


def test_stored_sums_of_other_gains_are_not_used() -> None:
    vectors = codebook()
    wrong = SumTable(torch.zeros(12, 12, dtype=torch.int32), (0.5, 0.5), "codec")
    likelihood = CodebookSumLikelihood(vectors, table=wrong)
    stored = likelihood.bind(encoded(), (0.5, 0.5))
    assert stored.warnings == ()
    assert stored.at(0, NO_HISTORY).n_pairs(0, 0.0) == 144, "all sums are code 0"
    rebuilt = likelihood.bind(encoded(), GAINS)
    (warning,) = rebuilt.warnings
    assert "is for gains 0.5 and 0.5 and was computed again for 0.7 and 0.3" in warning
    half_right = likelihood.bind(encoded(), (0.5, 0.3))
    assert half_right.at(0, NO_HISTORY).n_pairs(0, 0.0) < 144
    fresh = CodebookSumLikelihood(vectors).bind(encoded(), GAINS)
    assert torch.equal(rebuilt.frames(0, 4), fresh.frames(0, 4))


def test_what_does_not_fit() -> None:
    likelihood = CodebookSumLikelihood(codebook())
    with pytest.raises(IncompatibleComponentsError, match="works on 2 sources, got 3"):
        likelihood.bind(encoded(), (0.3, 0.3, 0.4))
    with pytest.raises(IncompatibleComponentsError, match="expected latents of 3 dimensions"):
        likelihood.bind(encoded(dim=2), GAINS)
    without_codes = EncodedMixture(torch.zeros(1, 256), encoded().latents, None, 1.0)
    with pytest.raises(IncompatibleComponentsError, match="no codes of the mixture"):
        likelihood.bind(without_codes, GAINS)
    CodebookSumLikelihood(codebook(), target="unquantised").bind(without_codes, GAINS)
    table = SumTable(torch.zeros(11, 11, dtype=torch.int32), GAINS, "codec")
    with pytest.raises(CheckpointError, match="expected a table of sums for 12 codes, got 11"):
        CodebookSumLikelihood(codebook(), table=table)


def context(folder: Path, **changes) -> BuildContext:
    facts = {"gains": GAINS, "codec": AddingCodec((0.0, 0.25, 0.5))}
    return build_context(folder, **(facts | changes))


def build_from(config: CodebookSumConfig, context: BuildContext) -> CodebookSumLikelihood:
    registry = Registry.from_plugins(codebook_sum=plugin)
    assert not registry.problems
    return build(registry.find(Kind.LIKELIHOOD, "codebook-sum"), config, context)


def test_build(tmp_path: Path) -> None:
    likelihood = build_from(CodebookSumConfig(sigma=0.5, target="unquantised"), context(tmp_path))
    assert (likelihood.sigma, likelihood.target) == (0.5, "unquantised")
    assert likelihood.codebook.tolist() == [[0.0], [0.25], [0.5]]
    assert CodebookSumConfig().sigma == 0.2
    assert build_from(CodebookSumConfig(), context(tmp_path)).target == "quantised"


def test_build_with_a_stored_table(tmp_path: Path) -> None:
    codec = AddingCodec((0.0, 0.25, 0.5))
    table = torch.full((3, 3), 2, dtype=torch.int32)
    digest = save_table(tmp_path / "sums.safetensors", table, GAINS, codec.fingerprint)
    config = CodebookSumConfig(table="sums.safetensors")
    mixture = EncodedMixture(
        torch.zeros(1, 4), torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), 1.0
    )
    for hashes in (None, {}, {"sums.safetensors": digest}):
        bound = build_from(config, context(tmp_path, hashes=hashes)).bind(mixture, GAINS)
        assert bound.at(0, NO_HISTORY).n_pairs(0, 0.0) == 9, "all sums are code 2"
    with pytest.raises(CheckpointError, match="not the file"):
        build_from(config, context(tmp_path, hashes={"sums.safetensors": "0" * 64}))
    with pytest.raises(CheckpointError, match="another codec"):
        build_from(config, context(tmp_path, codec=AddingCodec((0.0, 0.5, 1.0))))
    with pytest.raises(
        CheckpointError, match="no table of code sums at .*a file in the model's directory"
    ):
        build_from(CodebookSumConfig(table="none.safetensors"), context(tmp_path))


def test_a_table_beside_the_model_needs_no_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    codec = AddingCodec((0.0, 0.25, 0.5))
    table = torch.full((3, 3), 2, dtype=torch.int32)
    digest = save_table(tmp_path / "sums.safetensors", table, GAINS, codec.fingerprint)
    mixture = EncodedMixture(
        torch.zeros(1, 4), torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), 1.0
    )

    def n_pairs_of_code_2(name: str = "codebook-sum", **changes) -> int:
        """Nine where the stored table is used."""
        registered = Registry.from_plugins(codebook_sum=plugin).find(Kind.LIKELIHOOD, name)
        facts = {"hashes": {"sums.safetensors": digest}} | changes
        likelihood = build(registered, registered.spec.config(), context(tmp_path, **facts))
        sums = likelihood.bind(mixture, GAINS).at(0, NO_HISTORY)._index.table
        return int((sums == 2).sum())

    assert n_pairs_of_code_2() == n_pairs_of_code_2("delta") == 9
    assert not caplog.messages
    assert n_pairs_of_code_2(codec=AddingCodec((0.0, 0.5, 1.0))) < 9
    assert caplog.messages == [
        f"{tmp_path / 'sums.safetensors'} is of another codec: the sums are computed instead "
        "(`lqsep sums` stores them)"
    ]
    with pytest.raises(CheckpointError, match="not the file"):
        n_pairs_of_code_2(hashes={"sums.safetensors": "0" * 64})
    (tmp_path / "sums.safetensors").unlink()
    assert n_pairs_of_code_2() < 9


class UnequalCodec(AddingCodec):
    def codebook_size(self, source: int) -> int:
        return 3 - source


def test_build_with_what_does_not_fit(tmp_path: Path) -> None:
    three = context(tmp_path, sources=("a", "b", "c"), gains=(0.3, 0.3, 0.4))
    with pytest.raises(IncompatibleComponentsError, match="works on 2 sources, got 3"):
        build_from(CodebookSumConfig(), three)
    with pytest.raises(IncompatibleComponentsError, match="one codebook for both"):
        build_from(CodebookSumConfig(), context(tmp_path, codec=UnequalCodec()))
