import math

import pytest
import torch

from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.inference.smoothing.forward_backward import smooth
from lqsep.core.interfaces.candidates import DecodedCandidates
from lqsep.plugins.samplers import forward_backward, plugin
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.config import ForwardBackwardConfig
from lqsep.plugins.samplers.factory import build_forward_backward
from lqsep.plugins.samplers.forward_backward import ForwardBackwardSampler
from lqsep.plugins.selectors.mean import MeanSelector
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import SamplerContract
from lqsep.testing.enumeration import enumerate_posterior
from lqsep.testing.posteriors import draw
from lqsep.testing.toys import (
    DenseBound,
    EchoBound,
    LongMemoryPrior,
    random_markov_prior,
    random_posterior,
)

# One run in a thousand has a smaller probability of its statistic by chance; the seed is fixed.
P_VALUE = 1e-3


class TestForwardBackward(SamplerContract):
    def make(self):
        return ForwardBackwardSampler(5)


class TestForwardBackwardInBlocks(SamplerContract):
    def make(self):
        return ForwardBackwardSampler(5, block_frames=2)


class TestForwardBackwardOneCandidate(SamplerContract):
    def make(self):
        return ForwardBackwardSampler(1, adapt_rounds=0)


class LevelBound(DenseBound):
    """Adapts: the likelihood of the marginals' most probable codes rises by ``step`` nats.

    Every round lowers the adaptation's log prior by ``cost``.
    """

    can_adapt = True

    def __init__(self, log_likelihood, step, cost=0.0, n_rounds=0):
        super().__init__(log_likelihood)
        self.step, self.cost, self.n_rounds = step, cost, n_rounds

    def adapt(self, marginals, frames=None):
        values = self.log_likelihood.clone()
        frames = torch.arange(self.n_frames) if frames is None else frames
        for place, frame in enumerate(frames):
            i, j = (int(table[place].argmax()) for table in marginals)
            values[frame, i, j] += self.step
        self.adapted = LevelBound(values, self.step, self.cost, self.n_rounds + 1)
        return self.adapted

    def adaptation_log_prior(self):
        return -self.cost * self.n_rounds


def adaptive(step, seed=0, cost=0.0):
    plain = random_posterior(seed, n_codes=(3, 4), n_frames=3)
    return SequencePosterior(plain.priors, LevelBound(plain.bound.log_likelihood, step, cost))


@pytest.mark.parametrize("n_codes", [(3, 4), (2, 5), (1, 4), (3, 1)])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_marginals_and_evidence_against_enumeration(n_codes, n_frames):
    posterior = random_posterior(3, n_codes=n_codes, n_frames=n_frames)
    exact = enumerate_posterior(posterior)
    found = draw(ForwardBackwardSampler(3), posterior)
    log_evidence = float(exact.log_joint.logsumexp(0))
    # Float32 products.
    assert (found.log_evidence - log_evidence).abs().max() < 1e-5
    for source, n in enumerate(n_codes):
        torch.testing.assert_close(
            found.marginals[source].double(), exact.marginals(source, n), atol=1e-6, rtol=0
        )


def chi_square_tail(counts, probability):
    """Probability of a statistic as large by chance; cells below 5 expected are merged."""
    n_draws = float(counts.sum())
    small = probability * n_draws < 5
    expected = torch.cat([probability[~small], probability[small].sum()[None]]) * n_draws
    observed = torch.cat([counts[~small], counts[small].sum()[None]]).double()
    assert len(expected) > 20, "too few cells to say anything"
    statistic = ((observed - expected).square() / expected).sum()
    freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, statistic / 2))


def counts_of(found, exact):
    same = (found.codes.transpose(0, 1)[:, None] == exact.codes[None]).all(3).all(2)
    assert (same.sum(1) == 1).all()
    return same.sum(0)


@pytest.mark.parametrize("block_frames", [None, 1])
def test_draws_follow_the_posterior_of_whole_sequences(block_frames):
    posterior = random_posterior(0, n_codes=(2, 3), n_frames=3, scale=1.0)
    exact = enumerate_posterior(posterior)
    probability = exact.log_joint.softmax(0)
    found = draw(ForwardBackwardSampler(4000, block_frames=block_frames), posterior)
    assert chi_square_tail(counts_of(found, exact), probability) > P_VALUE
    # Draws that do not look ahead are something else: the test can tell.
    ancestral = draw(AncestralSampler(4000), posterior)
    assert chi_square_tail(counts_of(ancestral, exact), probability) < 1e-6


def test_draws_of_careful_products_follow_the_posterior():
    """Chains with impossible transitions take the other way; impossible sequences never come."""
    rng = torch.Generator().manual_seed(0)
    priors = [random_markov_prior(size, rng, scale=1.0) for size in (3, 4)]
    for prior in priors:
        table = prior.log_transition
        table[0, 1], table[1, 2] = -math.inf, -math.inf
        prior.log_transition = table.log_softmax(1)
    posterior = SequencePosterior(priors, DenseBound(torch.randn(3, 3, 4, generator=rng)))
    exact = enumerate_posterior(posterior)
    probability = exact.log_joint.softmax(0)
    found = draw(ForwardBackwardSampler(4000), posterior)
    counts = counts_of(found, exact)
    assert (counts[probability == 0] == 0).all() and (probability == 0).sum() > 100
    assert chi_square_tail(counts, probability) > P_VALUE


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_scores_are_those_of_extend(rounds):
    """Walking the posterior, the adapted one where it was, along the candidates' codes."""
    posterior = adaptive(0.5)
    found = draw(ForwardBackwardSampler(6, adapt_rounds=rounds), posterior)
    for _ in range(rounds):
        posterior = posterior.adapt(
            [enumerate_posterior(posterior).marginals(s, n) for s, n in enumerate((3, 4))]
        )
    state = posterior.start(6)
    for frame in range(3):
        state = posterior.extend(state, posterior.chosen(state, found.codes[:, :, frame].T))
    expected = posterior.candidates(state)
    # Float32 tables and products.
    torch.testing.assert_close(found.log_prior, expected.log_prior, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.log_likelihood, expected.log_likelihood, atol=1e-5, rtol=0)
    log_joint = enumerate_posterior(posterior).log_joint
    torch.testing.assert_close(
        found.log_proposal,
        expected.log_posterior - log_joint.logsumexp(0),
        atol=1e-5,
        rtol=0,
    )
    assert found.log_evidence.unique().numel() == 1
    assert float(found.log_evidence[0]) == pytest.approx(float(log_joint.logsumexp(0)), abs=1e-5)
    assert found.diagnostics["adapt_rounds"] == rounds


def test_adaptation_raises_the_evidence():
    plain = draw(ForwardBackwardSampler(adapt_rounds=0), adaptive(0.5))
    found = draw(ForwardBackwardSampler(), adaptive(0.5))
    rise = found.diagnostics["log_evidence"] - plain.diagnostics["log_evidence"]
    assert rise > 0.1
    assert found.diagnostics["adaptation_gain"] == pytest.approx(rise / 3, rel=1e-6)
    assert found.diagnostics["log_evidence"] == float(found.log_evidence[0])
    assert not found.warnings


def test_long_sequences_adapt_by_some_of_their_frames():
    """Four stretches, evenly spread; the draws are of all frames."""
    plain = random_posterior(5, n_codes=(3, 4), n_frames=40)
    posterior = SequencePosterior(plain.priors, LevelBound(plain.bound.log_likelihood, 0.7))
    seen = []
    found = draw(
        ForwardBackwardSampler(3, adapt_rounds=2, adapt_frames=9),
        posterior,
        on_frame=lambda *call: seen.append(call),
    )
    assert found.codes.shape == (2, 3, 40)
    adapted = posterior.bound.adapted.adapted
    changed = (adapted.log_likelihood - plain.bound.log_likelihood).sum((1, 2))
    stretches = [0, 1, 13, 14, 25, 26, 38, 39]
    expected = torch.zeros(40, dtype=torch.float64)
    expected[stretches] = 1.4
    torch.testing.assert_close(changed, expected)
    assert found.diagnostics["adaptation_gain"] > 0.01
    assert found.bound is adapted and adapted.n_rounds == 2
    again = SequencePosterior(plain.priors, adapted)
    same = draw(ForwardBackwardSampler(3, adapt_rounds=0), again)
    assert torch.equal(found.codes, same.codes)
    assert found.log_evidence[0] == same.log_evidence[0]
    assert seen == sorted(seen) and seen[-1] == (40, 40)


def test_adaptation_that_lowers_the_evidence_is_undone():
    plain = draw(ForwardBackwardSampler(adapt_rounds=0), adaptive(-0.5))
    found = draw(ForwardBackwardSampler(adapt_rounds=2), adaptive(-0.5))
    assert torch.equal(found.codes, plain.codes)
    assert torch.equal(found.log_proposal, plain.log_proposal)
    assert found.diagnostics["adapt_rounds"] == 0
    assert found.bound.n_rounds == 0
    (warning,) = found.warnings
    assert "was undone" in warning and "\n" not in warning


def test_an_adaptation_that_its_prior_makes_unlikely_is_undone():
    """A round raises the evidence by at most half a nat in each of 3 frames."""
    sampler = ForwardBackwardSampler(adapt_rounds=2)
    assert draw(sampler, adaptive(0.5, cost=0.01)).diagnostics["adapt_rounds"] == 2
    undone = draw(sampler, adaptive(0.5, cost=2.0))
    assert undone.diagnostics["adapt_rounds"] == 0
    (warning,) = undone.warnings
    assert "log prior of the adaptation by -2.0" in warning


@pytest.fixture
def passes(monkeypatch):
    """Lengths and numbers of draws of all passes, in order."""
    made = []

    def recording(markov, uniform, **kwargs):
        made.append((markov.n_frames, len(uniform)))
        return smooth(markov, uniform, **kwargs)

    monkeypatch.setattr(forward_backward, "smooth", recording)
    return made


def long_adaptive(step, n_frames=640, cost=0.0):
    plain = random_posterior(2, n_codes=(3, 4), n_frames=n_frames)
    return SequencePosterior(plain.priors, LevelBound(plain.bound.log_likelihood, step, cost))


def test_the_last_round_needs_no_pass_of_its_own(passes):
    """The pass over all frames says whether it was any good."""
    found = draw(ForwardBackwardSampler(3, adapt_rounds=2, adapt_frames=512), long_adaptive(0.3))
    assert passes == [(128, 0)] * 8 + [(640, 3)]
    assert found.diagnostics["adapt_rounds"] == 2 and not found.warnings
    passes.clear()
    short = ForwardBackwardSampler(3, adapt_rounds=2, adapt_frames=508)
    other = draw(short, long_adaptive(0.3))
    # Too short to forget what came before them.
    assert passes == [(127, 0)] * 12 + [(640, 3)]
    gains = [one.diagnostics["adaptation_gain"] for one in (found, other)]
    assert gains[0] == pytest.approx(gains[1], rel=0.05) and gains[0] > 0.1


def test_an_adaptation_that_changes_nothing_is_the_last(passes):
    class Content(DenseBound):
        can_adapt = True

        def adapt(self, marginals, frames=None):
            return self

    plain = random_posterior(2, n_codes=(3, 4), n_frames=6)
    posterior = SequencePosterior(plain.priors, Content(plain.bound.log_likelihood))
    found = draw(ForwardBackwardSampler(3, adapt_rounds=4), posterior)
    assert passes == [(6, 0), (6, 3)] and found.diagnostics["adapt_rounds"] == 0


@pytest.mark.parametrize(("step", "cost"), [(-0.3, 0.0), (0.3, 1000.0)])
def test_a_bad_last_round_is_undone_after_all(passes, step, cost):
    posterior = long_adaptive(step, cost=cost)
    plain = draw(ForwardBackwardSampler(3, adapt_rounds=0), posterior)
    passes.clear()
    found = draw(ForwardBackwardSampler(3, adapt_rounds=1, adapt_frames=512), posterior)
    assert passes == [(128, 0)] * 4 + [(640, 3)] * 2
    assert torch.equal(found.codes, plain.codes)
    assert found.log_evidence[0] == plain.log_evidence[0]
    assert found.diagnostics["adapt_rounds"] == found.diagnostics["adaptation_gain"] == 0
    (warning,) = found.warnings
    assert "was undone" in warning


def test_pruned_passes_are_compared_as_whole_ones_are(passes):
    """What came before a stretch is forgotten after 64 frames: the gain is that of a third pass."""
    gains = []
    for prune in (0.0, 1e-5):
        sampler = ForwardBackwardSampler(3, adapt_rounds=1, adapt_frames=512, prune=prune)
        gains.append(draw(sampler, long_adaptive(0.3)).diagnostics["adaptation_gain"])
    assert gains[0] == pytest.approx(gains[1], abs=1e-3) and gains[0] > 0.1


def test_a_likelihood_that_cannot_adapt_takes_one_pass():
    posterior = random_posterior(0, n_frames=3)
    found = draw(ForwardBackwardSampler(adapt_rounds=2), posterior)
    plain = draw(ForwardBackwardSampler(adapt_rounds=0), posterior)
    assert torch.equal(found.codes, plain.codes) and found.diagnostics == plain.diagnostics


def test_diagnostics():
    posterior = random_posterior(0, n_codes=(3, 4), n_frames=4)
    found = draw(ForwardBackwardSampler(7), posterior)
    exact = enumerate_posterior(posterior)
    for source, n in enumerate((3, 4)):
        p = exact.marginals(source, n)
        entropy = float(-(p * p.log()).sum(1).mean())
        assert found.diagnostics[f"entropy_{source}"] == pytest.approx(entropy, abs=1e-5)
    assert found.diagnostics["effective_sample_size"] == 7


def test_diagnostics_of_pruning():
    posterior = random_posterior(0, n_codes=(6, 7), n_frames=40, scale=3.0)
    exact = draw(ForwardBackwardSampler(3, prune=0.0), posterior)
    found = draw(ForwardBackwardSampler(3, prune=1e-4), posterior)
    assert 0.1 < found.diagnostics["pairs_kept"] < 0.95
    assert 0 < found.diagnostics["most_lost"] < 0.05
    assert found.diagnostics["whole_frames"] == 0
    lost = exact.diagnostics["log_evidence"] - found.diagnostics["log_evidence"]
    assert 0 < lost < 40 * found.diagnostics["most_lost"]
    assert not {"pairs_kept", "most_lost", "whole_frames"} & exact.diagnostics.keys()


@pytest.mark.parametrize("n_rows", [1, 3])
def test_the_first_row_of_a_prompt_conditions_the_first_frame(n_rows):
    plain = random_posterior(0, n_codes=(3, 4), n_frames=3)
    prompt = torch.tensor([[[0, 2], [1, 3]], [[2, 0], [1, 1]], [[1, 1], [0, 0]]])[:n_rows]
    posterior = SequencePosterior(plain.priors, plain.bound, prompt=prompt)
    first = SequencePosterior(plain.priors, plain.bound, prompt=prompt[:1])
    found = draw(ForwardBackwardSampler(4), posterior)
    exact = enumerate_posterior(first)
    assert float(found.log_evidence[0]) == pytest.approx(
        float(exact.log_joint.logsumexp(0)), abs=1e-5
    )
    for source, n in enumerate((3, 4)):
        torch.testing.assert_close(
            found.marginals[source].double(), exact.marginals(source, n), atol=1e-6, rtol=0
        )
    without = draw(ForwardBackwardSampler(4), plain)
    assert not torch.allclose(found.marginals[0][0], without.marginals[0][0], atol=1e-3)


def test_progress_is_in_frames_of_all_rounds():
    calls = []
    sampler = ForwardBackwardSampler(2, adapt_rounds=1, block_frames=2)
    draw(sampler, adaptive(0.5), on_frame=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    calls.clear()
    # One pass is enough for a likelihood that is fixed.
    draw(sampler, random_posterior(0, n_frames=8), on_frame=lambda *call: calls.append(call))
    assert calls == [(frame + 1, 8) for frame in range(8)]


def long_memory_prior():
    return LongMemoryPrior(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("prior", r"the prior of source 1 \(LongMemoryPrior\) is no first-order Markov chain"),
        ("context", r"the prior of source 0 \(MarkovPrior\) is no first-order Markov chain"),
        ("history", r"the likelihood \(EchoBound\) looks at past codes"),
        ("unlisted", r"the likelihood \(Unlisted\) does not list its pairs of codes"),
    ],
)
def test_what_is_not_markov_is_named(changed, said):
    class Unlisted(DenseBound):
        def frames(self, start, stop):
            return None

    plain = random_posterior(0, n_frames=3)
    priors, bound = list(plain.priors), plain.bound
    if changed == "prior":
        priors[1] = long_memory_prior()
    elif changed == "context":
        priors[0] = random_markov_prior(3, torch.Generator().manual_seed(0), max_frames=1)
    elif changed == "history":
        bound = EchoBound(bound.log_likelihood)
    else:
        bound = Unlisted(bound.log_likelihood)
    with pytest.raises(IncompatibleComponentsError, match=said) as caught:
        draw(ForwardBackwardSampler(), SequencePosterior(priors, bound))
    message = str(caught.value)
    assert "\n" not in message and "'ngram'" in message and "'smc'" in message
    assert message.count("is no first-order") + message.count("the likelihood (") == 1


def test_a_context_of_two_frames_is_still_a_chain():
    posterior = random_posterior(0, n_codes=(3, 3), n_frames=3)
    short = random_posterior(0, n_codes=(3, 3), n_frames=3, max_frames=2)
    one, other = (draw(ForwardBackwardSampler(), which) for which in (posterior, short))
    assert torch.equal(one.codes, other.codes)
    state = short.start(32)
    for frame in range(3):
        state = short.extend(state, short.chosen(state, one.codes[:, :, frame].T))
    torch.testing.assert_close(one.log_prior, state.log_prior, atol=1e-5, rtol=0)


def test_selector_mean_weighs_the_draws_equally():
    found = draw(ForwardBackwardSampler(4), random_posterior(0, n_frames=3))
    decoded = DecodedCandidates(found, torch.zeros(2, 4, 1, 8), torch.zeros(1, 8), (0.5, 0.5))
    for weighting in ("uniform", "evidence"):
        weights = MeanSelector(weighting).select(decoded, torch.zeros(1, 8)).weights
        torch.testing.assert_close(weights, torch.full_like(weights, 0.25))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n_candidates": 0}, "n_candidates must be 1 or more"),
        ({"adapt_rounds": 9}, "adapt_rounds must be from 0 to 8"),
        ({"adapt_rounds": -1}, "adapt_rounds must be from 0 to 8"),
        ({"block_frames": 0}, "block_frames must be 1 or more"),
        ({"prune": -1e-9}, "prune must be from 0 to 0.01"),
        ({"prune": 0.02}, "prune must be from 0 to 0.01"),
        ({"prune": math.nan}, "prune must be from 0 to 0.01"),
    ],
)
def test_settings_out_of_range(arguments, said):
    with pytest.raises(ValueError, match=said):
        ForwardBackwardSampler(**arguments)


def test_the_plugin_builds_it(tmp_path):
    registry = Registry.from_plugins(samplers=plugin)
    spec = registry.find(Kind.SAMPLER, "forward-backward").spec
    assert spec.config is ForwardBackwardConfig
    config = ForwardBackwardConfig(n_candidates=3, adapt_rounds=2, block_frames=9, prune=1e-3)
    sampler = build_forward_backward(config, build_context(tmp_path))
    assert (sampler.n_candidates, sampler.adapt_rounds, sampler.block_frames) == (3, 2, 9)
    assert sampler.prune == 1e-3
    default = build_forward_backward(ForwardBackwardConfig(), build_context(tmp_path))
    assert vars(default) == vars(ForwardBackwardSampler())
    assert "temperature" not in ForwardBackwardConfig.model_fields
