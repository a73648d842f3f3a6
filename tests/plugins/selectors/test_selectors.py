import itertools
import math

import numpy as np
import pytest
import torch

from lqsep.core.components.assemble import build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.inference.joint_scores import joint_scores
from lqsep.core.interfaces.candidates import Candidates, DecodedCandidates
from lqsep.plugins.selectors import plugin
from lqsep.plugins.selectors.best import BestSelector
from lqsep.plugins.selectors.mean import MeanSelector
from lqsep.plugins.selectors.rejection import RejectionSelector
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import SelectorContract


class TestRejectionMarginal(SelectorContract):
    def make(self):
        return RejectionSelector("marginal")


class TestRejectionPair(SelectorContract):
    def make(self):
        return RejectionSelector("pair")


class TestBest(SelectorContract):
    def make(self):
        return BestSelector()


class TestMeanUniform(SelectorContract):
    def make(self):
        return MeanSelector("uniform")


class TestMeanEvidence(SelectorContract):
    def make(self):
        return MeanSelector("evidence")


def make_decoded(log_prior, waves, mixture, gains, n_frames=1, scores=None):
    log_prior = torch.as_tensor(log_prior)
    n_sources, n_candidates = log_prior.shape
    scores = torch.zeros(2, n_candidates) if scores is None else torch.as_tensor(scores)
    codes = torch.zeros(n_sources, n_candidates, n_frames, dtype=torch.int64)
    candidates = Candidates(codes, log_prior, scores[0], scores[1])
    return DecodedCandidates(candidates, torch.as_tensor(waves), torch.as_tensor(mixture), gains)


def from_golden(arrays, suffix):
    def get(name):
        return arrays[name + suffix]

    return make_decoded(
        np.stack([get("nll0"), get("nll1")]),  # log-probabilities in spite of their name
        np.stack([get("res0"), get("res1")])[:, :, None],
        get("mix"),
        tuple(get("alpha").tolist()),
        int(get("n_samples")),
    )


def random_decoded(n_sources, n_candidates, n_channels=1, seed=0):
    rng = np.random.default_rng(seed)
    waves = rng.standard_normal((n_sources, n_candidates, n_channels, 70))
    gains = tuple(np.linspace(0.3, 0.7, n_sources))
    return make_decoded(
        -30 * rng.random((n_sources, n_candidates)),
        waves,
        np.tensordot(gains, waves[:, 0], 1) + 0.1,
        gains,
        n_frames=4,
    )


@pytest.mark.parametrize("suffix", ["", "_a37"])
def test_golden_scores(golden, suffix):
    arrays = golden.npz("rejection")
    scores = joint_scores(from_golden(arrays, suffix))

    def compare(found, name, tolerance):
        expected = arrays[name + suffix]
        assert np.abs(np.asarray(found) - expected).max() <= tolerance, name

    # The recorded numbers are float32: errors up to 38, log priors about -6, log likelihoods -6.4.
    compare(scores.error, "global_l2", 1e-6 * arrays["global_l2" + suffix].max())
    compare(scores.sigma, "sigma_rejection", 1e-6 * scores.sigma)
    compare(scores.log_prior.mean(), "mean_prior", 1e-6)
    compare(scores.log_prior.flatten().log_softmax(0).view(6, 6), "global_prior", 1e-6)
    compare(-scores.error / (2 * scores.sigma**2), "global_likelihood", 1e-6 * 6.4)
    # 1e-7 is what an independent float64 evaluation reaches against the recorded posterior.
    compare(scores.log_posterior.exp(), "global_posterior", 1e-7)
    for source in range(2):
        marginal = scores.marginal(source)
        compare(marginal, f"marginal_{source}", 4e-7)  # a sum of six
        order = arrays[f"marginal_{source}_idx_sorted{suffix}"]
        assert marginal.argsort().tolist() == order.tolist()


@pytest.mark.parametrize("suffix", ["", "_a37"])
def test_golden_picks(golden, suffix):
    arrays = golden.npz("rejection")
    decoded = from_golden(arrays, suffix)
    for mode, expected in {
        "marginal": [arrays[f"marginal_{s}_idx_sorted{suffix}"][-1] for s in range(2)],
        "pair": arrays["argmax_pair" + suffix],
    }.items():
        weights = RejectionSelector(mode).select(decoded, decoded.mixture).weights
        assert weights.argmax(1).tolist() == list(expected)
        assert weights.sum() == 2 and weights.max() == 1


@pytest.mark.parametrize(("n_sources", "n_channels"), [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_scores_equal_a_loop_over_all_combinations(n_sources, n_channels):
    decoded = random_decoded(n_sources, 4, n_channels)
    scores = joint_scores(decoded)
    log_prior, error = {}, {}
    for combination in itertools.product(range(4), repeat=n_sources):
        total = sum(decoded.gains[s] * decoded.waves[s, k] for s, k in enumerate(combination))
        error[combination] = float((total - decoded.mixture).square().sum())
        log_prior[combination] = sum(
            float(decoded.candidates.log_prior[s, k]) / 4 for s, k in enumerate(combination)
        )
    variance = -np.mean(list(error.values())) / (2 * np.mean(list(log_prior.values())))
    assert scores.sigma == pytest.approx(math.sqrt(variance), rel=1e-12)
    posterior = {c: math.exp(log_prior[c] - error[c] / (2 * variance)) for c in error}
    total = sum(posterior.values())
    for combination in error:
        assert float(scores.error[combination]) == pytest.approx(error[combination], rel=1e-10)
        found = float(scores.log_posterior[combination].exp())
        assert found == pytest.approx(posterior[combination] / total, rel=1e-9)
    best = max(posterior, key=posterior.get)
    weights = RejectionSelector("pair").select(decoded, decoded.mixture).weights
    assert tuple(weights.argmax(1).tolist()) == best


def test_marginal_and_pair_may_differ():
    # Sums that fit: 0 with 0 (a little more probable), 1 with 1, 1 with 2. So the best pair is
    # (0, 0), but candidate 1 of the first source is the likelier one by itself.
    levels = torch.tensor([[0.0, 10.0, 30.0], [15.0, 5.0, 5.1]], dtype=torch.float64)
    log_prior = torch.tensor([[-20.0, -20.0, -20.0], [-19.8, -20.0, -20.0]])
    decoded = make_decoded(
        log_prior, levels[:, :, None, None], torch.full((1, 1), 15.0), (1.0, 1.0)
    )

    def pick(mode):
        return RejectionSelector(mode).select(decoded, decoded.mixture).weights.argmax(1).tolist()

    assert pick("pair") == [0, 0]
    assert pick("marginal") == [1, 0]


def test_reported_scores():
    decoded = random_decoded(2, 3)
    selection = RejectionSelector("pair").select(decoded, decoded.mixture)
    scores = joint_scores(decoded)
    i, j = selection.weights.argmax(1).tolist()
    assert selection.scores == {
        "sigma": scores.sigma,
        "error": float(scores.error[i, j]),
        "joint_probability": float(scores.log_posterior[i, j].exp()),
        "probability_0": float(scores.marginal(0)[i]),
        "probability_1": float(scores.marginal(1)[j]),
    }
    assert selection.joint is not None
    assert torch.equal(selection.joint.log_posterior, scores.log_posterior)
    assert torch.equal(selection.joint.error, scores.error)


def test_without_any_error_the_prior_decides():
    log_prior = [[-5.0, -1.0, -3.0], [-2.0, -2.5, -1.5]]
    decoded = make_decoded(log_prior, torch.ones(2, 3, 1, 8), torch.ones(1, 8), (0.5, 0.5))
    selection = RejectionSelector().select(decoded, decoded.mixture)
    assert selection.weights.argmax(1).tolist() == [1, 2]
    assert selection.scores["sigma"] == 0


def test_with_certain_priors_the_error_decides():
    waves = torch.tensor([[1.0, 2.0, 3.0], [5.0, 3.0, 1.0]])[:, :, None, None].expand(-1, -1, 1, 8)
    decoded = make_decoded(torch.zeros(2, 3), waves, torch.full((1, 8), 5.0), (1.0, 1.0))
    selection = RejectionSelector("pair").select(decoded, decoded.mixture)
    assert selection.weights.argmax(1).tolist() == [1, 1]


def test_impossible_candidates_are_not_picked():
    log_prior = torch.tensor([[-math.inf, -1.0], [-1.0, -1.0]])
    waves = torch.tensor([[1.0, 7.0], [1.0, 1.0]])[:, :, None, None].expand(-1, -1, 1, 8)
    decoded = make_decoded(log_prior, waves, torch.full((1, 8), 2.0), (1.0, 1.0))
    scores = joint_scores(decoded)
    assert scores.marginal(0).tolist() == pytest.approx([0, 1])
    # without any support the error decides
    nothing = make_decoded(
        torch.full((2, 2), -math.inf), waves, torch.full((1, 8), 8.0), (1.0, 1.0)
    )
    weights = RejectionSelector("pair").select(nothing, nothing.mixture).weights
    assert weights[0].tolist() == [0, 1]
    assert joint_scores(nothing).log_posterior.isfinite().all()


def test_small_differences_of_loud_waves():
    # The error is 1e-8 of the energy: in float32 inner products it would drown.
    rng = np.random.default_rng(0)
    base = rng.standard_normal((2, 1, 1, 40_000)).astype("f")
    waves = base + 1e-4 * rng.standard_normal((2, 5, 1, 40_000)).astype("f")
    mixture = 0.5 * base[:, 0].sum(0)
    decoded = make_decoded(-torch.ones(2, 5), waves, mixture, (0.5, 0.5))
    doubles = waves.astype(float)
    expected = np.array(
        [
            [np.sum((0.5 * a + 0.5 * b - mixture.astype(float)) ** 2) for b in doubles[1]]
            for a in doubles[0]
        ]
    )
    # Rounding of float64 sums of 40,000 products, on 1e-8 of their value: measured 2e-6.
    assert np.abs(np.asarray(joint_scores(decoded).error) / expected - 1).max() < 1e-5


def test_too_many_combinations():
    decoded = make_decoded(
        torch.zeros(5, 64), torch.zeros(5, 64, 1, 1), torch.zeros(1, 1), (0.2,) * 5
    )
    with pytest.raises(IncompatibleComponentsError, match="64 candidates of 5 sources"):
        RejectionSelector().select(decoded, decoded.mixture)


def test_best():
    log_prior = torch.tensor([[-1.0, -2.0, -3.0], [-3.0, -1.5, -1.0]])
    decoded = make_decoded(
        log_prior,
        torch.zeros(2, 3, 1, 4),
        torch.zeros(1, 4),
        (1.0, 1.0),
        scores=[[-2.0, -2.0, -math.inf], [0.0, 0.0, 9.0]],
    )
    selection = BestSelector().select(decoded, decoded.mixture)
    assert selection.weights.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert selection.scores == {"log_posterior": -5.5}
    assert selection.joint is None


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_best_of_candidates_without_score(value):
    decoded = make_decoded(
        torch.tensor([[value, value, -1.0]]), torch.zeros(1, 3, 1, 4), torch.zeros(1, 4), (1.0,)
    )
    assert BestSelector().select(decoded, decoded.mixture).weights.tolist() == [[0, 0, 1]]


def test_mean():
    decoded = make_decoded(
        torch.zeros(2, 3),
        torch.zeros(2, 3, 1, 4),
        torch.zeros(1, 4),
        (1.0, 1.0),
        # far below what exp can hold
        scores=[[0.0, 0.0, 0.0], [-2000.0, -2000.0 + math.log(3), -math.inf]],
    )
    uniform = MeanSelector().select(decoded, decoded.mixture)
    assert uniform.weights.tolist() == [pytest.approx([1 / 3] * 3)] * 2
    assert uniform.scores["effective_candidates"] == pytest.approx(3)
    evidence = MeanSelector("evidence").select(decoded, decoded.mixture)
    # float32 holds log 3 - 2000 to 6e-5
    assert evidence.weights.tolist() == [pytest.approx([0.25, 0.75, 0], abs=1e-4)] * 2
    assert evidence.scores["effective_candidates"] == pytest.approx(1.6, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "settings", "component"),
    [
        ("rejection", {"mode": "pair"}, RejectionSelector),
        ("best", {}, BestSelector),
        ("mean", {"weighting": "evidence"}, MeanSelector),
    ],
)
def test_built_from_settings(tmp_path, name, settings, component):
    registered = Registry.from_plugins(lqsep=plugin).find(Kind.SELECTOR, name)
    config = registered.spec.config(**settings)
    built = build(registered, config, build_context(tmp_path))
    assert isinstance(built, component)
    for field, value in settings.items():
        assert getattr(built, f"_{field}") == value
