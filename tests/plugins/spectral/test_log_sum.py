"""The likelihood ``log-sum``: its values against the Gaussian written out, and how it is built."""

import math
import weakref
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lqsep.core.components.assemble import build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import IncompatibleComponentsError, ShapeError
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.spectral import pair_model, plugin
from lqsep.plugins.spectral.book import SpectralBook
from lqsep.plugins.spectral.codec import SpectralCodec
from lqsep.plugins.spectral.features import SpectralFeatures
from lqsep.plugins.spectral.log_sum import BoundLogSum, LogSumLikelihood
from lqsep.plugins.spectral.log_sum_config import LogSumConfig
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import LikelihoodContract
from lqsep.testing.toys import AddingCodec, random_markov_prior

GAINS = (0.7, 0.3)
NO_HISTORY = torch.zeros(1, 2, 0, dtype=torch.int64)


def features(n_bands: int = 17) -> SpectralFeatures:
    return SpectralFeatures(8000, n_fft=64, hop_length=32, n_bands=n_bands, linear_hz=1000.0)


def book(seed: int, size: int, n_bands: int = 17) -> SpectralBook:
    """Codes over some 50 dB, as loud as spectra of waves of RMS 0.1 are."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(size, n_bands, generator=generator) * 3 - 3
    variance = torch.rand(size, n_bands, generator=generator) + 0.05
    count = torch.ones(size, dtype=torch.int64)
    return SpectralBook(mean, variance, torch.zeros(size, 33), count)


def encoded(n_frames: int = 4, n_bands: int = 17) -> EncodedMixture:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(n_frames, n_bands, generator=generator) * 3 - 3
    return EncodedMixture(torch.zeros(1, 32 * n_frames), latents, None, 1.0)


def likelihood(n_codes=(12, 9), n_bands: int = 17, **settings) -> LogSumLikelihood:
    books = [book(seed, size, n_bands) for seed, size in enumerate(n_codes)]
    return LogSumLikelihood(books, features(n_bands), **settings)


def written_out(
    books, floor, latent, gains, *, temper=0.12, residual=0.15, equaliser=(0.0, 0.0)
) -> torch.Tensor:
    """The log-likelihood of every pair for one frame, in float64, from torch's own normal."""
    powers = [
        gain**2 * (book.mean.double() + shift).exp()
        for book, gain, shift in zip(books, gains, equaliser, strict=True)
    ]
    total = powers[0][:, None] + powers[1] + floor.double()
    shares = powers[0][:, None] / total, powers[1] / total
    variance = residual + shares[0] ** 2 * books[0].variance.double()[:, None]
    variance = variance + shares[1] ** 2 * books[1].variance.double()
    log_prob = torch.distributions.Normal(total.log(), variance.sqrt()).log_prob(latent.double())
    return temper * (log_prob + math.log(2 * math.pi) / 2).sum(2)


class TestLogSum(LikelihoodContract):
    gains = GAINS

    def make(self) -> LogSumLikelihood:
        return likelihood()

    def make_encoded(self) -> EncodedMixture:
        return encoded()


class TestMoreFramesThanABlock(TestLogSum):
    """The second block is not full, and the middle of the sequence lies inside the first."""

    n_hypotheses = 1

    def make(self) -> LogSumLikelihood:
        return likelihood((3, 2))

    def make_encoded(self) -> EncodedMixture:
        return encoded(67)


class TestUntempered(TestLogSum):
    """Values of some thousand nats."""

    def make(self) -> LogSumLikelihood:
        return likelihood(temper=3.0, residual_variance=0.02)


class TestAdapted(TestLogSum):
    """What `adapt` returns is a likelihood like any other."""

    def make(self) -> LogSumLikelihood:
        made = likelihood()

        class Adapted(LogSumLikelihood):
            def bind(self, encoded, gains):
                bound = made.bind(encoded, gains)
                listed = bound.frames(0, bound.n_frames)
                return bound.adapt([listed.logsumexp(axis).softmax(1) for axis in (2, 1)])

        return Adapted([book(0, 12), book(1, 9)], features())


@settings(deadline=None, max_examples=25)
@given(
    n_codes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    n_bands=st.integers(12, 24),
    n_frames=st.integers(1, 70),
    gains=st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)),
    temper=st.floats(0.01, 1),
    residual=st.floats(0.05, 2),
    cut=st.floats(0, 1),
)
def test_values(n_codes, n_bands, n_frames, gains, temper, residual, cut) -> None:
    """In float32 a value of some hundred nats is right to 1e-5 of it."""
    made = likelihood(n_codes, n_bands, temper=temper, residual_variance=residual)
    mixture = encoded(n_frames, n_bands)
    bound = made.bind(mixture, gains)
    start = int(cut * n_frames)
    found = bound.frames(start, n_frames)
    assert found.dtype == torch.float32
    assert found.shape == (n_frames - start, *n_codes)
    books = [book(seed, size, n_bands) for seed, size in enumerate(n_codes)]
    for frame in range(start, n_frames):
        expected = written_out(
            books,
            features(n_bands).floor,
            mixture.latents[frame],
            gains,
            temper=temper,
            residual=residual,
        )
        torch.testing.assert_close(found[frame - start].double(), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("offset", [-20.0, 0.0, 40.0])
def test_loudness_costs_no_digits(offset: float) -> None:
    """Log powers far from zero: the terms that cancel would else be 1600 / (2 variance) each."""
    books = [book(0, 12), book(1, 9)]
    loud = [
        SpectralBook(one.mean + offset, one.variance, one.log_power, one.count) for one in books
    ]
    louder = features()
    louder.floor = louder.floor * math.exp(offset)
    latents = (GAINS[0] ** 2 * loud[0].mean.double().exp()[3]).log().float()[None]
    bound = LogSumLikelihood(loud, louder).bind(
        EncodedMixture(torch.zeros(1, 32), latents, None, 1.0), GAINS
    )
    expected = written_out(loud, louder.floor, latents[0], GAINS)
    best = expected.flatten().topk(20).indices
    found = bound.frames(0, 1)[0].flatten()[best].double()
    torch.testing.assert_close(found, expected.flatten()[best], rtol=0, atol=2e-5)


def test_blocks_of_the_table_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = likelihood().bind(encoded(), GAINS).frames(0, 4)
    monkeypatch.setattr(pair_model, "_BLOCK", 400)  # Two rows at a time.
    monkeypatch.setattr(pair_model, "_COLUMNS", 50)  # Of 108.
    # Sums over bands in other shapes may round differently.
    torch.testing.assert_close(
        likelihood().bind(encoded(), GAINS).frames(0, 4), whole, rtol=1e-6, atol=1e-6
    )


def test_a_frame_does_not_depend_on_its_neighbours() -> None:
    """To the bit: inference in parts must give what the whole gives."""
    bound = likelihood().bind(encoded(80), GAINS)
    whole = bound.frames(0, 80)
    for start, stop in ((79, 80), (63, 65), (5, 70), (0, 1), (64, 64)):
        assert torch.equal(bound.frames(start, stop), whole[start:stop])


@pytest.mark.parametrize("n_frames", [1, 15, 16, 17, 43, 64, 107])
def test_the_last_block_is_padded_no_more_than_needed(n_frames, monkeypatch) -> None:
    """And computed once, though a frame is asked for first to see whether there are any."""
    sizes = []
    compute = pair_model.PairTable.log_likelihood

    def noted(self, targets):
        sizes.append(len(targets))
        return compute(self, targets)

    latents = encoded(128).latents
    bound = likelihood().bind(
        EncodedMixture(torch.zeros(1, 32 * n_frames), latents[:n_frames], None, 1.0), GAINS
    )
    monkeypatch.setattr(pair_model.PairTable, "log_likelihood", noted)
    first = bound.frames(0, 1)
    for start in range(0, n_frames, 64):
        bound.frames(start, min(start + 64, n_frames))
    expected = 16 * math.ceil(n_frames / 16)
    # A single frame is a block.
    assert sum(sizes) == (2 * expected if n_frames == 1 else expected)
    whole = likelihood().bind(encoded(128), GAINS).frames(0, n_frames)
    assert torch.equal(bound.frames(0, n_frames), whole) and torch.equal(first, whole[:1])


def test_some_pairs_of_every_frame(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(5)
    bound = likelihood().bind(encoded(9), GAINS)
    i = torch.randint(12, (9, 5), generator=generator)
    j = torch.randint(9, (9, 4), generator=generator)
    expected = bound.frames(0, 9)[torch.arange(9)[:, None, None], i[:, :, None], j[:, None]]
    for looked_up in (1 << 20, 1500, 1):
        monkeypatch.setattr(pair_model, "_LOOKED_UP", looked_up)
        found = bound._table.at(bound._targets, i, j)
        # Float32 sums of 35 terms in another order.
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_the_pair_that_was_mixed_wins() -> None:
    books = [book(0, 12), book(1, 9)]
    power = GAINS[0] ** 2 * books[0].mean[4].exp() + GAINS[1] ** 2 * books[1].mean[7].exp()
    mixture = EncodedMixture(torch.zeros(1, 32), (power + features().floor).log()[None], None, 1.0)
    bound = LogSumLikelihood(books, features(), temper=1.0).bind(mixture, GAINS)
    assert int(bound.frames(0, 1).argmax()) == 4 * 9 + 7


def test_the_table_is_made_once_and_let_go_when_another_follows(monkeypatch) -> None:
    made = []

    class Noted(pair_model.PairTable):
        def __init__(self, *arguments) -> None:
            made.append(weakref.ref(self))
            super().__init__(*arguments)

    monkeypatch.setattr("lqsep.plugins.spectral.log_sum.PairTable", Noted)
    bound = likelihood().bind(encoded(), GAINS)
    before = bound.frames(0, 4)
    assert torch.equal(bound.frames(1, 3), before[1:3])
    assert [table() is not None for table in made] == [True]
    adapted = bound.adapt([torch.full((4, size), 1 / size) for size in (12, 9)])
    assert not torch.allclose(adapted.frames(0, 4), before)
    assert [table() is not None for table in made] == [False, True]
    assert torch.equal(bound.frames(0, 4), before), "what it was made from has changed"


def test_no_frames_to_adapt_by_leave_it_as_it_is() -> None:
    bound = likelihood().bind(encoded(), GAINS)
    nothing = [torch.zeros(0, size) for size in (12, 9)]
    adapted = bound.adapt(nothing, torch.zeros(0, dtype=torch.int64))
    assert adapted is bound
    assert adapted.adaptation_log_prior() == 0


def test_gains_of_one_mixture_do_not_change_another() -> None:
    made = likelihood()
    before = made.bind(encoded(), GAINS)
    values = before.frames(0, 4)
    other = made.bind(encoded(), (0.3, 0.7)).frames(0, 4)
    assert torch.equal(other, likelihood().bind(encoded(), (0.3, 0.7)).frames(0, 4))
    assert not torch.allclose(other, values)
    assert torch.equal(before.frames(0, 4), values), "an earlier mixture's values have changed"


def test_sampling_runs_on_it() -> None:
    generator = torch.Generator().manual_seed(0)
    priors = [random_markov_prior(size, generator) for size in (12, 9)]
    bound = likelihood().bind(encoded(), GAINS)
    posterior = SequencePosterior(priors, bound)
    drawn = AncestralSampler(n_candidates=3).sample(posterior, generator=generator)
    i, j = drawn.codes[:, 0]
    expected = bound.frames(0, 4)[torch.arange(4), i, j].double().sum()
    torch.testing.assert_close(drawn.log_likelihood[0].double(), expected, rtol=1e-5, atol=1e-4)
    markov = posterior.markov()
    assert markov is not None
    assert torch.equal(markov.log_likelihood(1, 3), bound.frames(1, 3))


def test_what_does_not_fit() -> None:
    made = likelihood()
    with pytest.raises(IncompatibleComponentsError, match="works on 2 sources, got 3"):
        made.bind(encoded(), (0.3, 0.3, 0.4))
    with pytest.raises(IncompatibleComponentsError, match="expected latents of 17 bands, got 16"):
        made.bind(encoded(n_bands=16), GAINS)
    with pytest.raises(IncompatibleComponentsError, match="works on 2 sources, got 1"):
        likelihood((12,))
    with pytest.raises(IncompatibleComponentsError, match="same bands, got 17 and 16"):
        LogSumLikelihood([book(0, 3), book(1, 3, 16)], features())
    with pytest.raises(IncompatibleComponentsError, match="smaller codebook_size"):
        likelihood((1025, 1024))
    bound = made.bind(encoded(), GAINS)
    with pytest.raises(ShapeError, match=r"expected marginals of shapes \[\(4, 12\), \(4, 9\)\]"):
        bound.adapt([torch.ones(4, 9) / 9, torch.ones(4, 12) / 12])


def build_with(codec: object, **changes) -> LogSumLikelihood:
    registry = Registry.from_plugins(spectral=plugin)
    assert not registry.problems
    config = LogSumConfig(temper=0.2, residual_variance=0.3, equaliser_smooth_db=0.0)
    registered = registry.find(Kind.LIKELIHOOD, "log-sum")
    facts = {"gains": GAINS, "codec": codec, **changes}
    return build(registered, config, build_context(Path(), **facts))


def test_build() -> None:
    books = (book(0, 12), book(1, 9))
    made = build_with(SpectralCodec(features(), books))
    mixture = encoded()
    bound = made.bind(mixture, GAINS)
    assert isinstance(bound, BoundLogSum)
    expected = written_out(
        books, features().floor, mixture.latents[2], GAINS, temper=0.2, residual=0.3
    )
    torch.testing.assert_close(bound.frames(2, 3)[0].double(), expected, rtol=1e-5, atol=1e-4)
    with pytest.raises(IncompatibleComponentsError, match="works on 2 sources, got 1"):
        build_with(None, sources=("drums",), gains=(1.0,))


def test_a_codec_without_books() -> None:
    with pytest.raises(IncompatibleComponentsError) as error:
        build_with(AddingCodec((0.0, 0.5)))
    assert "AddingCodec" in str(error.value) and "spectral-vq" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", ["temper", "residual_variance", "equaliser_white_db"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_wrong_settings(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        LogSumConfig(**{field: value})
