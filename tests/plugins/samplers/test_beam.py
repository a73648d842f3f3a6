import pytest
import torch

from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.inference.filters import Filters
from lqsep.plugins.samplers import plugin
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.plugins.samplers.config import BeamConfig
from lqsep.plugins.samplers.factory import build_beam
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import SamplerContract
from lqsep.testing.dense import dense_greedy
from lqsep.testing.posteriors import long_memory_posterior
from lqsep.testing.toys import enumerate_posterior, random_posterior


class TestBeam(SamplerContract):
    def make(self):
        return BeamSampler(5)


class TestBeamFiltered(SamplerContract):
    def make(self):
        return BeamSampler(5, filters=Filters(1.2, top_k=2, joint_top_k=6))


def sample(width, posterior, filters=None):
    return BeamSampler(width, filters=filters).sample(posterior, generator=torch.Generator())


def small_posterior(seed, n_codes=(2, 3), n_frames=4):
    return long_memory_posterior(seed, n_codes=n_codes, n_frames=n_frames, prior_scale=2, scale=2)


@pytest.mark.parametrize("make", [random_posterior, small_posterior])
def test_wide_beam_lists_the_whole_posterior_in_order(make):
    posterior = make(0)
    exact = enumerate_posterior(posterior)
    found = sample(len(exact.codes), posterior)
    assert found.n_candidates == len(exact.codes)
    assert torch.equal(found.codes.transpose(0, 1)[:50], exact.best(50))
    torch.testing.assert_close(
        found.log_posterior, exact.log_joint.sort(descending=True).values, atol=1e-5, rtol=0
    )


def test_width_one_is_greedy_and_sometimes_wrong():
    wrong = 0
    for seed in range(30):
        posterior = small_posterior(seed)
        greedy = sample(1, posterior)
        run = dense_greedy(posterior.priors, posterior.bound)
        assert torch.equal(greedy.codes[:, 0], run.codes)
        assert float(greedy.log_evidence) == pytest.approx(float(run.log_evidence.sum()), abs=1e-5)
        wrong += not torch.equal(greedy.codes[:, 0], enumerate_posterior(posterior).best()[0])
    assert 0 < wrong < 30


def search_by_hand(posterior, width):
    """Beam search over explicit lists of sequences, scored from scratch at every step."""
    exact = enumerate_posterior(posterior)
    beams = [()]
    for frame in range(posterior.n_frames):
        scored = {}
        for beam in beams:
            for codes in exact.codes[:, :, : frame + 1].unique(dim=0):
                path = tuple(codes.T.flatten().tolist())
                if path[: len(beam)] == beam:
                    scored[path] = prefix_score(posterior, codes)
        beams = sorted(scored, key=scored.get, reverse=True)[:width]
    return [torch.tensor(beam).view(-1, 2).T for beam in beams]


def prefix_score(posterior, codes):
    log_prior = sum(
        float(prior.log_prob(codes[source : source + 1]).double().sum())
        for source, prior in enumerate(posterior.priors)
    )
    zero = torch.zeros(1, dtype=torch.int64)
    for frame in range(codes.shape[1]):
        likelihood = posterior.bound.at(frame, codes[None, :, :frame])
        log_prior += float(likelihood.at(zero, codes[None, :, frame]))
    return log_prior


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_equals_a_search_by_hand(width, seed):
    posterior = small_posterior(seed, n_frames=3)
    found = sample(width, posterior)
    expected = search_by_hand(posterior, width)
    assert torch.equal(found.codes.transpose(0, 1), torch.stack(expected))


def test_wider_is_never_worse_at_the_end_of_the_widening():
    """Over many random cases: the widest finds the maximum, the narrow ones never exceed it."""
    for seed in range(40):
        posterior = small_posterior(seed, n_codes=(2, 2), n_frames=3)
        best = float(enumerate_posterior(posterior).log_joint.max())
        for width in (1, 3, 64):
            top = float(sample(width, posterior).log_posterior[0])
            # float32 prior tables
            assert top <= best + 1e-5
        assert top == pytest.approx(best, abs=1e-5)


def test_candidates_are_distinct_and_sorted():
    found = sample(20, random_posterior(0, n_codes=(4, 5), n_frames=6))
    assert found.n_candidates == 20
    assert len(found.codes.transpose(0, 1).unique(dim=0)) == 20
    assert (found.log_posterior.diff() <= 0).all()
    assert found.log_proposal is None


def test_evidence_is_that_of_the_path():
    posterior = random_posterior(1, n_codes=(3, 4), n_frames=4)
    found = sample(6, posterior)
    for candidate in range(6):
        state, codes = posterior.start(1), found.codes[:, candidate]
        for frame in range(4):
            state = posterior.extend(state, posterior.chosen(state, codes[None, :, frame]))
        evidence = float(state.log_evidence)
        assert float(found.log_evidence[candidate]) == pytest.approx(evidence, abs=1e-6)


def test_filters_restrict_and_rank():
    posterior = random_posterior(0, n_codes=(3, 3), n_frames=3)
    hot = sample(10**4, posterior, Filters(temperature=3.0))
    plain = sample(10**4, posterior)
    assert hot.n_candidates == plain.n_candidates == 9**3
    assert not torch.equal(hot.codes, plain.codes)
    only_best = sample(10**4, posterior, Filters(joint_top_k=1))
    assert torch.equal(only_best.codes, sample(1, posterior).codes)


def test_does_not_use_the_generator():
    rng = torch.Generator().manual_seed(3)
    before = rng.get_state()
    BeamSampler(3).sample(random_posterior(0), generator=rng)
    assert torch.equal(before, rng.get_state())


def test_is_built_from_its_configuration(tmp_path):
    spec = Registry.from_plugins(samplers=plugin).find(Kind.SAMPLER, "beam").spec
    assert spec.config is BeamConfig
    sampler = build_beam(
        BeamConfig(beam_width=3, top_p=0.5, joint_top_p=0.25), build_context(tmp_path)
    )
    assert sampler.beam_width == 3
    assert sampler.filters == Filters(top_p=0.5, joint_top_p=0.25)
    assert build_beam(BeamConfig(), build_context(tmp_path)).beam_width == 16


def test_width_below_one_is_refused():
    with pytest.raises(ValueError, match="beam_width"):
        BeamSampler(0)
    with pytest.raises(ValueError, match="beam_width"):
        BeamConfig(beam_width=0)
