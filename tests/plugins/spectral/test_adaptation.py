"""Equalisers fitted to a mixture: recovered where there are any, small where there are none."""

import math

import pytest
import torch

from lqsep.core.interfaces.data import EncodedMixture
from lqsep.plugins.spectral import adaptation
from lqsep.plugins.spectral.adaptation import EqualiserPrior, _Objective, band_octaves, top_pairs
from lqsep.plugins.spectral.book import SpectralBook
from lqsep.plugins.spectral.features import SpectralFeatures
from lqsep.plugins.spectral.log_sum import BoundLogSum, LogSumLikelihood

GAINS = (0.5, 0.5)
N_CODES = (10, 8)
DB = math.log(10) / 10


def features() -> SpectralFeatures:
    return SpectralFeatures(8000, n_fft=64, hop_length=32, n_bands=17, linear_hz=1000.0)


def books() -> list[SpectralBook]:
    """Source 0 is stronger in the upper bands, source 1 in the lower ones."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for size, slope in zip(N_CODES, (2.0, -2.0), strict=True):
        mean = torch.randn(size, 17, generator=generator) * 1.5
        mean = mean + slope * torch.linspace(-1, 1, 17)
        count = torch.ones(size, dtype=torch.int64)
        made.append(SpectralBook(mean, torch.full_like(mean, 0.2), torch.zeros(size, 33), count))
    return made


def curve(db: float) -> torch.Tensor:
    """An equaliser of each source: louder bass, softer drums, each with a tilt."""
    tilt = torch.linspace(-1, 1, 17, dtype=torch.float64)
    return db * DB * torch.stack([tilt - 0.5, 0.5 - tilt])


def mixture(db: float, n_frames: int = 160) -> EncodedMixture:
    """Random codes, equalised, with the noise that the books speak of."""
    generator = torch.Generator().manual_seed(3)
    power = features().floor.double()
    for book, gain, shift in zip(books(), GAINS, curve(db), strict=True):
        codes = torch.randint(book.size, (n_frames,), generator=generator)
        noise = torch.randn(n_frames, 17, generator=generator) * book.variance.sqrt()[0]
        power = power + gain**2 * (book.mean[codes].double() + noise + shift).exp()
    return EncodedMixture(torch.zeros(1, 32 * n_frames), power.log().float(), None, 1.0)


def bind(db: float, n_frames: int = 160, **settings) -> BoundLogSum:
    return LogSumLikelihood(books(), features(), **settings).bind(mixture(db, n_frames), GAINS)


def marginals(bound: BoundLogSum) -> list[torch.Tensor]:
    """Exact, with equally likely codes at every frame."""
    joint = bound.frames(0, bound.n_frames).double().flatten(1).softmax(1).unflatten(1, N_CODES)
    return [joint.sum(2), joint.sum(1)]


def log_evidence(bound: BoundLogSum) -> float:
    """Of all frames, with equally likely codes at every frame."""
    return float(bound.frames(0, bound.n_frames).double().flatten(1).logsumexp(1).sum())


def log_prior(equaliser: torch.Tensor) -> float:
    covariance = EqualiserPrior().covariance(band_octaves(features()))
    zero = torch.zeros(17, dtype=torch.float64)
    gaussian = torch.distributions.MultivariateNormal(zero, covariance)
    return float((gaussian.log_prob(equaliser) - gaussian.log_prob(zero)).sum())


def test_the_prior_in_db() -> None:
    """White noise and offsets add up as variances; an octave apart the curve goes by exp(-1/2)."""
    octaves = torch.tensor([3.0, 4.0, 20.0], dtype=torch.float64)
    found = EqualiserPrior(2.0, 3.0, 0.5).covariance(octaves) / DB**2
    near, far = 4 + 9 * math.exp(-0.5), 4.0
    variance = 4 + 9 + 0.25
    expected = [[variance, near, far], [near, variance, far], [far, far, variance]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    # 1 dB is a factor of 10^(1/10) in power.
    assert DB == pytest.approx(math.log(10**0.1))
    precision = EqualiserPrior().precision(octaves)
    product = precision @ EqualiserPrior().covariance(octaves)
    torch.testing.assert_close(product, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-9)


def test_octaves_of_the_bands() -> None:
    octaves = band_octaves(features())
    assert len(octaves) == 17
    assert octaves[0] == -1 and octaves[1] == 0 and octaves[2] == 1
    assert (octaves.diff() > 0).all()
    # The last band ends at the Nyquist frequency, bin 32.
    assert 4 < octaves[-1] <= 5


def listed(values: torch.Tensor):
    """All pairs' values to choose from."""
    frame = torch.arange(len(values))[:, None, None]
    return lambda i, j: values[frame, i[:, :, None], j[:, None]]


def joint_posterior(seed: int, sharpness: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A likelihood of 5 frames and the posterior of it times independent beliefs."""
    generator = torch.Generator().manual_seed(seed)
    log_likelihood = torch.randn(5, 6, 4, generator=generator).double() * sharpness
    first, second = (torch.randn(5, size, generator=generator).double() for size in (6, 4))
    joint = (log_likelihood + first[:, :, None] + second[:, None]).flatten(1).softmax(1)
    return log_likelihood, joint.view(5, 6, 4)


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 3.0])
def test_pairs_are_exact_for_independent_beliefs(sharpness: float) -> None:
    log_likelihood, joint = joint_posterior(0, sharpness)
    pairs = top_pairs((joint.sum(2), joint.sum(1)), listed(log_likelihood))
    found = torch.zeros_like(joint)
    frame = torch.arange(5)[:, None]
    found[frame, pairs.i, pairs.j] = pairs.weight
    assert pairs.weight.shape == (5, 24)
    # Rows and columns were fitted 20 times.
    torch.testing.assert_close(found, joint, rtol=0, atol=1e-3)


def test_only_the_likeliest_pairs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "_TOP_CODES", 3)
    monkeypatch.setattr(adaptation, "_TOP_PAIRS", 4)
    log_likelihood, joint = joint_posterior(1)
    first, second = joint.sum(2), joint.sum(1)
    pairs = top_pairs((first, second), listed(log_likelihood))
    assert pairs.i.shape == pairs.j.shape == (5, 4)
    torch.testing.assert_close(pairs.weight.sum(1), torch.ones(5, dtype=torch.float64))
    for frame in range(5):
        assert set(pairs.i[frame].tolist()) <= set(first[frame].topk(3).indices.tolist())
        assert set(pairs.j[frame].tolist()) <= set(second[frame].topk(3).indices.tolist())
        assert len({*zip(pairs.i[frame].tolist(), pairs.j[frame].tolist(), strict=True)}) == 4


def test_impossible_codes_give_finite_weights() -> None:
    log_likelihood, joint = joint_posterior(2)
    certain = torch.zeros(5, 6, dtype=torch.float64)
    certain[:, 2] = 1
    pairs = top_pairs((certain, joint.sum(1)), listed(300 * log_likelihood))
    assert pairs.weight.isfinite().all()
    on_code = (pairs.weight * (pairs.i == 2)).sum(1)
    torch.testing.assert_close(on_code, torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-6)


def error_db(bound: BoundLogSum, truth: torch.Tensor) -> float:
    """RMS in the bands that each source has to itself: in the others it is hardly heard."""
    error = bound.equaliser - truth
    return float(torch.cat([error[0, 9:], error[1, :8]]).square().mean().sqrt() / DB)


def test_adapting_recovers_an_equaliser_and_raises_the_evidence() -> None:
    bound = bind(4.0)
    scores = [log_evidence(bound)]
    errors = [error_db(bound, curve(4.0))]
    for _ in range(2):
        bound = bound.adapt(marginals(bound))
        scores.append(log_evidence(bound) + log_prior(bound.equaliser))
        errors.append(error_db(bound, curve(4.0)))
    assert scores[0] + 100 < scores[1] < scores[2]
    # 160 frames, tempered, know a band to about a third of a dB; found: 3.2, 0.36, 0.28.
    assert errors[0] > 3 and errors[1] < 0.6 and errors[2] < errors[1]


def test_adapting_does_little_where_nothing_is_wrong() -> None:
    bound = bind(0.0)
    adapted = bound.adapt(marginals(bound))
    assert error_db(adapted, curve(0.0)) < 0.4
    assert float(adapted.equaliser.square().mean().sqrt()) < 1.0 * DB
    assert log_evidence(adapted) + log_prior(adapted.equaliser) >= log_evidence(bound)


def test_a_strong_prior_holds_the_equaliser() -> None:
    likelihoods = [EqualiserPrior(scale * 4, scale * 4, scale * 1) for scale in (1.0, 0.1, 0.001)]
    sizes = []
    for prior in likelihoods:
        bound = bind(4.0, equaliser=prior)
        sizes.append(float(bound.adapt(marginals(bound)).equaliser.abs().max()))
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < 0.05 * DB


def objective(bound: BoundLogSum, equaliser: torch.Tensor, joint: torch.Tensor) -> float:
    """Expected log-likelihood plus log prior, from the likelihood's own values."""
    moved = BoundLogSum(
        bound._model,
        bound._spectra,
        bound._targets,
        bound._temper,
        bound._precision,
        equaliser=equaliser,
    )
    values = moved.frames(0, moved.n_frames).double()
    return float((joint * values).sum()) + log_prior(equaliser)


@pytest.mark.parametrize("db", [0.0, 4.0, 15.0])
def test_the_objective_does_not_fall(db: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all pairs, as the codes are few; far off as well, where full steps overshoot."""
    monkeypatch.setattr(adaptation, "_TOP_PAIRS", 80)
    bound = bind(db, 40)
    for _ in range(4):
        joint = bound.frames(0, 40).double().flatten(1).softmax(1).view(40, *N_CODES)
        adapted = bound.adapt([joint.sum(2), joint.sum(1)])
        before = objective(bound, bound.equaliser, joint)
        assert objective(bound, adapted.equaliser, joint) >= before - 1e-4
        bound = adapted


@pytest.mark.parametrize("source", [0, 1])
def test_the_step_is_the_maximum_of_a_quadratic(source: int) -> None:
    """With one source alone in every band the means are linear, and one step is exact."""
    levels = [torch.full((1, 17), -60.0), torch.full((1, 17), -60.0)]
    levels[source] += 62.0
    alone = [
        SpectralBook(mean, torch.full_like(mean, 0.2), torch.zeros(1, 33), torch.ones(1).long())
        for mean in levels
    ]
    latents = torch.randn(50, 17, generator=torch.Generator().manual_seed(0)) + 1.5
    bound = LogSumLikelihood(alone, features()).bind(
        EncodedMixture(torch.zeros(1, 1600), latents, None, 1.0), (1.0, 1.0)
    )
    certain = torch.ones(50, 1)
    adapted = bound.adapt([certain, certain])
    # Kalman: the mean of 50 frames, seen with variance (0.2 + 0.15) / (0.12 * 50).
    covariance = EqualiserPrior().covariance(band_octaves(features()))
    seen = latents.double().mean(0) - 2.0
    noise = 0.35 / (0.12 * 50) * torch.eye(17, dtype=torch.float64)
    expected = covariance @ torch.linalg.solve(covariance + noise, seen)
    # The floor, 60 dB below white noise, takes a share of 1e-4 or less.
    torch.testing.assert_close(adapted.equaliser[source], expected, rtol=0, atol=1e-3)
    assert float(adapted.equaliser[1 - source].abs().max()) < 1e-6
    pairs = top_pairs((certain, certain), listed(torch.zeros(50, 1, 1)))
    target = _Objective(bound._model, bound._targets, [pairs], 0.12, bound._precision)
    assert float(target.newton_step(adapted.equaliser).abs().max()) < 1e-3


def test_what_the_step_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expected log-likelihood, tempered, plus the log prior; over all pairs here."""
    monkeypatch.setattr(adaptation, "_TOP_PAIRS", 80)
    bound = bind(4.0, 40)
    values = bound.frames(0, 40).double()
    joint = values.flatten(1).softmax(1).view(40, *N_CODES)
    pairs = top_pairs((joint.sum(2), joint.sum(1)), listed(values))
    target = _Objective(bound._model, bound._targets, [pairs], bound._temper, bound._precision)
    zero, moved = torch.zeros(2, 17, dtype=torch.float64), curve(2.0)
    found = target.value(moved) - target.value(zero)
    expected = objective(bound, moved, joint) - objective(bound, zero, joint)
    assert found == pytest.approx(expected, abs=0.01)


def test_blocks_of_frames_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = bind(4.0)
    whole = bound.adapt(marginals(bound)).equaliser
    monkeypatch.setattr(adaptation, "_BLOCK_FRAMES", 37)
    parts = bound.adapt(marginals(bound)).equaliser
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-9)


def test_the_likelihood_before_stays_as_it_is() -> None:
    bound = bind(4.0, 40)
    values = bound.frames(0, 40).clone()
    adapted = bound.adapt(marginals(bound))
    assert torch.equal(bound.frames(0, 40), values)
    assert float(bound.equaliser.abs().max()) == 0
    assert not torch.allclose(adapted.frames(0, 40), values)
