"""The likelihood ``counts``: values, floor, exactness, and files that do not fit."""

import math
from pathlib import Path

import pytest
import torch

from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.config import parse_settings
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import CheckpointError, ConfigError, IncompatibleComponentsError
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.store.weights import save_weights
from lqsep.plugins.counts import plugin
from lqsep.plugins.counts.config import CountsConfig
from lqsep.plugins.counts.likelihood import CountsLikelihood
from lqsep.plugins.counts.store import TripleCounts, load_counts, save_counts
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import LikelihoodContract
from lqsep.testing.dense import dense_values
from lqsep.testing.toys import AddingCodec, enumerate_posterior, random_markov_prior

GAINS = (0.7, 0.3)
NO_HISTORY = torch.zeros(1, 2, 0, dtype=torch.int64)
SIZE = 6


def random_counts(size: int = SIZE, n: int = 60, seed: int = 0) -> TripleCounts:
    """Triples, some of them listed twice."""
    generator = torch.Generator().manual_seed(seed)
    triples = torch.randint(size, (n, 3), generator=generator)
    counts = torch.randint(1, 9, (n,), generator=generator)
    return TripleCounts(triples, counts, size, int(counts.sum()))


def encoded(codes: list[int]) -> EncodedMixture:
    latents = torch.full((len(codes), 2), torch.nan)  # not to be looked at
    return EncodedMixture(torch.zeros(1, 4 * len(codes)), latents, torch.tensor(codes), 1.0)


def expected_values(
    counted: TripleCounts, code: int, smoothing: float, weight: float
) -> torch.Tensor:
    size = counted.codebook_size
    table = torch.zeros(size, size, size, dtype=torch.float64)
    for triple, count in zip(counted.triples.tolist(), counted.counts.tolist(), strict=True):
        table[tuple(triple)] += count
    share = table[:, :, code] / table.sum(2).clamp_min(1)
    return weight * ((1 - smoothing) * share + smoothing / size).log()


class TestCounts(LikelihoodContract):
    def make(self) -> CountsLikelihood:
        return CountsLikelihood(random_counts(), codebook_size=SIZE)

    def make_encoded(self) -> EncodedMixture:
        return encoded([0, 3, 3, 5])


class TestFewCountsWeighted(LikelihoodContract):
    """Most codes of the mixture were never seen: every pair has the floor there."""

    def make(self) -> CountsLikelihood:
        counted = random_counts(n=3)
        return CountsLikelihood(counted, codebook_size=SIZE, smoothing=1e-6, weight=3.0)

    def make_encoded(self) -> EncodedMixture:
        return encoded(list(range(SIZE)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("smoothing", "weight"), [(0.01, 1.0), (0.3, 2.5), (1e-9, 0.2), (1, 1)])
def test_values(seed: int, smoothing: float, weight: float) -> None:
    size = 2 + 3 * seed
    counted = random_counts(size, n=10 * size, seed=seed)
    likelihood = CountsLikelihood(counted, codebook_size=size, smoothing=smoothing, weight=weight)
    bound = likelihood.bind(encoded(list(range(size))), GAINS)
    for code in range(size):
        expected = expected_values(counted, code, smoothing, weight)
        found = dense_values(bound.at(code, NO_HISTORY), 1)[0]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(bound.frames(code, code + 1)[0], found, rtol=0, atol=0)


def test_every_unlisted_pair_has_the_floor() -> None:
    counted = TripleCounts(torch.tensor([[0, 1, 2], [0, 1, 0]]), torch.tensor([3, 1]), 3, 4)
    bound = CountsLikelihood(counted, codebook_size=3, smoothing=0.3).bind(encoded([2, 1]), GAINS)
    values = dense_values(bound.at(0, NO_HISTORY), 1)[0].exp()
    assert float(values[0, 1]) == pytest.approx(0.7 * 3 / 4 + 0.1)
    values[0, 1] = 0.1
    torch.testing.assert_close(values, torch.full((3, 3), 0.1, dtype=torch.float64))
    never = dense_values(bound.at(1, NO_HISTORY), 1).exp()
    torch.testing.assert_close(never, torch.full((1, 3, 3), 0.1, dtype=torch.float64))


def test_seen_pairs_are_distributions_over_the_mixtures_codes() -> None:
    counted = random_counts()
    bound = CountsLikelihood(counted, codebook_size=SIZE, smoothing=0.2).bind(
        encoded(list(range(SIZE))), GAINS
    )
    totals = bound.frames(0, SIZE).exp().sum(0)
    seen = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    seen[counted.triples[:, 0], counted.triples[:, 1]] = True
    assert 0 < int(seen.sum()) < SIZE**2
    torch.testing.assert_close(totals[seen], torch.ones_like(totals[seen]))
    torch.testing.assert_close(totals[~seen], torch.full_like(totals[~seen], 0.2))


def test_a_code_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    likelihood = CountsLikelihood(random_counts(), codebook_size=SIZE)
    first = likelihood.bind(encoded([3, 1, 3]), GAINS)
    assert first.at(0, NO_HISTORY) is first.at(2, NO_HISTORY)
    assert likelihood.bind(encoded([3]), GAINS).at(0, NO_HISTORY) is first.at(0, NO_HISTORY)
    assert first.at(1, NO_HISTORY) is not first.at(0, NO_HISTORY)


def test_large_codebooks() -> None:
    """8192 codes: nothing as large as all pairs is made, and keys do not overflow."""
    size = 8192
    triples = torch.tensor([[8191, 8191, 8191], [8191, 8191, 0], [0, 5, 8191]])
    counted = TripleCounts(triples, torch.tensor([3, 1, 2]), size, 6)
    bound = CountsLikelihood(counted, codebook_size=size).bind(encoded([8191]), GAINS)
    assert bound.frames(0, 1) is None
    frame = bound.at(0, NO_HISTORY)
    codes = torch.tensor([[8191, 8191], [0, 5], [5, 0]])
    floor = 0.01 / size
    expected = torch.tensor([0.99 * 0.75 + floor, 0.99 + floor, floor], dtype=torch.float64)
    torch.testing.assert_close(frame.at(torch.zeros(3, dtype=torch.int64), codes).exp(), expected)
    assert frame.n_pairs(0, 5.0) == 2


def test_samplers_against_enumeration() -> None:
    generator = torch.Generator().manual_seed(4)
    priors = [random_markov_prior(4, generator) for _ in range(2)]
    likelihood = CountsLikelihood(random_counts(4, n=30), codebook_size=4)
    posterior = SequencePosterior(priors, likelihood.bind(encoded([1, 3, 0]), GAINS))
    exact = enumerate_posterior(posterior)
    beam = BeamSampler(4**4).sample(posterior, generator=generator)
    assert torch.equal(beam.codes[:, 0], exact.best()[0])
    # float32 sums over a few terms.
    assert float(beam.log_posterior[0]) == pytest.approx(float(exact.log_joint.max()), abs=1e-5)
    drawn = AncestralSampler(2000).sample(posterior, generator=generator)
    # The mean weight estimates the evidence; its standard error is reckoned from the draws.
    weights = (drawn.log_evidence - exact.log_evidence).exp()
    assert abs(float(weights.mean()) - 1) < 5 * float(weights.std()) / math.sqrt(2000)


def test_other_gains_are_told() -> None:
    counted = random_counts()
    counted = TripleCounts(counted.triples, counted.counts, SIZE, 1, (0.5, 0.5), "codec")
    likelihood = CountsLikelihood(counted, codebook_size=SIZE)
    assert likelihood.bind(encoded([0]), (0.5, 0.5)).warnings == ()
    (warning,) = likelihood.bind(encoded([0]), GAINS).warnings
    assert "counts are for gains 0.5 and 0.5, not for 0.7 and 0.3" in warning


def test_what_does_not_fit() -> None:
    with pytest.raises(CheckpointError, match="expected counts of 7 codes, got 6"):
        CountsLikelihood(random_counts(), codebook_size=7)
    likelihood = CountsLikelihood(random_counts(), codebook_size=SIZE)
    with pytest.raises(IncompatibleComponentsError, match="works on 2 sources, got 3"):
        likelihood.bind(encoded([0]), (0.3, 0.3, 0.4))
    with pytest.raises(IncompatibleComponentsError, match="no codes of the mixture"):
        likelihood.bind(EncodedMixture(torch.zeros(1, 4), torch.zeros(1, 2), None, 1.0), GAINS)


def test_settings_are_checked() -> None:
    for wrong in ({"smoothing": 0}, {"weight": 0}, {"axes": [0, 1, 1]}, {"axes": [0, 1]}):
        with pytest.raises(ConfigError, match=f"likelihood: {next(iter(wrong))}"):
            parse_settings(CountsConfig, wrong, "likelihood")
    assert parse_settings(CountsConfig, {"axes": [2, 0, 1]}, "likelihood").axes == (2, 0, 1)


def context(folder: Path, **changes: object) -> BuildContext:
    facts = {"gains": GAINS, "codec": AddingCodec([0.1 * k for k in range(SIZE)])}
    return build_context(folder, **(facts | changes))


def build_from(config: CountsConfig, context: BuildContext) -> CountsLikelihood:
    registry = Registry.from_plugins(counts=plugin)
    assert not registry.problems
    return build(registry.find(Kind.LIKELIHOOD, "counts"), config, context)


def test_stored_counts(tmp_path: Path) -> None:
    path, codec = tmp_path / "counts.safetensors", context(tmp_path).codec
    counted = random_counts()
    counted = TripleCounts(counted.triples, counted.counts, SIZE, 99, GAINS, codec.fingerprint)
    digest = save_counts(path, counted)
    found = load_counts(path, sha256=digest)
    assert torch.equal(found.triples, counted.triples)
    assert torch.equal(found.counts, counted.counts)
    assert (found.codebook_size, found.n_frames, found.gains) == (SIZE, 99, GAINS)
    for hashes in (None, {}, {path.name: digest}):
        built = build_from(CountsConfig(weight=2.0), context(tmp_path, hashes=hashes))
        value = dense_values(built.of_code(3), 1)[0]
        torch.testing.assert_close(value, expected_values(counted, 3, 0.01, 2.0))
    with pytest.raises(CheckpointError, match="not the file"):
        build_from(CountsConfig(), context(tmp_path, hashes={path.name: "0" * 64}))
    with pytest.raises(CheckpointError, match="another codec"):
        build_from(CountsConfig(), context(tmp_path, codec=AddingCodec([0.2] * SIZE)))
    with pytest.raises(CheckpointError, match="make it with `lqsep counts MODEL_DIR"):
        build_from(CountsConfig(counts="none.safetensors"), context(tmp_path))


def test_build_from_a_file_of_lass(tmp_path: Path) -> None:
    codec = AddingCodec([0.1 * k for k in range(5)])
    data = context(Path(__file__).parent / "data", codec=codec)
    built = build_from(CountsConfig(counts="coo.npz", smoothing=0.5), data)
    swapped = build_from(CountsConfig(counts="coo.npz", smoothing=0.5, axes=(1, 0, 2)), data)
    values = [dense_values(likelihood.of_code(2), 1)[0] for likelihood in (built, swapped)]
    torch.testing.assert_close(values[0], values[1].T)
    assert not torch.equal(values[0], values[1])
    with pytest.raises(CheckpointError, match="expected counts of 6 codes, got 5"):
        build_from(CountsConfig(counts="coo.npz"), context(data.base_dir))


class UnequalCodec(AddingCodec):
    def codebook_size(self, source: int) -> int:
        return SIZE - source


def test_build_with_what_does_not_fit(tmp_path: Path) -> None:
    save_counts(tmp_path / "counts.safetensors", random_counts())
    three = context(tmp_path, sources=("a", "b", "c"), gains=(0.3, 0.3, 0.4))
    with pytest.raises(IncompatibleComponentsError, match="works on 2 sources, got 3"):
        build_from(CountsConfig(), three)
    with pytest.raises(IncompatibleComponentsError, match="one codebook for both"):
        build_from(CountsConfig(), context(tmp_path, codec=UnequalCodec([0.1] * SIZE)))


# Annotations may be checked before the shapes are.
TRIPLES = "expected lists of triples|is not a file of counts"


@pytest.mark.parametrize(
    ("tensors", "metadata", "why"),
    [
        ({"weight": torch.zeros(1)}, {}, "no tensors named"),
        ({"counts": torch.ones(2)}, {}, "no tensors named"),
        ({}, {"codebook_size": None}, "metadata"),
        ({}, {"n_frames": "many"}, "metadata"),
        ({}, {"gains": "[0.5]"}, "metadata"),
        ({}, {"gains": "half"}, "metadata"),
        ({"triples": torch.zeros(2, 2).int()}, {}, TRIPLES),
        ({"counts": torch.ones(3).int()}, {}, TRIPLES),
        ({"triples": torch.zeros(0, 3).int(), "counts": torch.zeros(0).int()}, {}, "is empty"),
        ({"counts": torch.ones(2)}, {"codebook_size": "4"}, "no integers"),
        ({"triples": torch.full((2, 3), 4)}, {}, "not of codes below 4"),
        ({"triples": torch.full((2, 3), -1)}, {}, "not of codes below 4"),
        ({"counts": torch.tensor([1, 0])}, {}, "a count is below 1"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path,
    tensors: dict[str, torch.Tensor],
    metadata: dict[str, str | None],
    why: str,
) -> None:
    good = {"triples": torch.zeros(2, 3).int(), "counts": torch.ones(2).long()}
    tensors = tensors if why == "no tensors named" else good | tensors
    facts = {"codebook_size": "4", "n_frames": "2", "gains": "[0.5, 0.5]"} | metadata
    path = tmp_path / "other.safetensors"
    save_weights(path, tensors, {k: v for k, v in facts.items() if v is not None})
    with pytest.raises(CheckpointError, match=why):
        load_counts(path)
