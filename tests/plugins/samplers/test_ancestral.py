import logging
import math

import pytest
import torch

from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.inference.filters import Filters
from lqsep.plugins.samplers import plugin
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.config import AncestralConfig
from lqsep.plugins.samplers.factory import build_ancestral
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import SamplerContract
from lqsep.testing.posteriors import draw, long_memory_posterior
from lqsep.testing.toys import enumerate_posterior, random_posterior


class TestAncestral(SamplerContract):
    def make(self):
        return AncestralSampler(5)


class TestAncestralInBatches(SamplerContract):
    def make(self):
        return AncestralSampler(5, batch_size=2)


class TestAncestralFiltered(SamplerContract):
    def make(self):
        return AncestralSampler(5, filters=Filters(0.8, top_k=2, top_p=0.9, joint_top_p=0.9))


@pytest.mark.parametrize("batch_size", [1, 4, 5, 16, 100])
@pytest.mark.parametrize("n_prompts", [0, 1, 3, 16, 20])
def test_batches_do_not_matter(batch_size, n_prompts):
    prompt = None
    if n_prompts:
        rng = torch.Generator().manual_seed(1)
        prompt = torch.randint(5, (n_prompts, 2, 4), generator=rng)
    posterior = long_memory_posterior(prompt=prompt)
    whole = draw(AncestralSampler(16), posterior)
    parts = draw(AncestralSampler(16, batch_size=batch_size), posterior)
    assert torch.equal(whole.codes, parts.codes)
    # A batch of another size may be summed in another order.
    for name in ("log_prior", "log_likelihood", "log_evidence", "log_proposal"):
        torch.testing.assert_close(getattr(whole, name), getattr(parts, name), atol=1e-5, rtol=0)
    assert len(whole.codes[0].unique(dim=0)) > 10, "the candidates should differ"


def test_memory_that_runs_out_halves_the_batch(caplog):
    plain = long_memory_posterior()
    hungry = long_memory_posterior(most_rows=3)
    sampler = AncestralSampler(8)
    with caplog.at_level(logging.WARNING, logger="lqsep"):
        found = draw(sampler, hungry)
    assert torch.equal(found.codes, draw(AncestralSampler(8), plain).codes)
    assert "out of device memory with 8 at once" in caplog.text
    # The next segment begins with what fitted.
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="lqsep"):
        again = draw(sampler, hungry)
    assert torch.equal(again.codes, found.codes)
    assert not caplog.records


def test_candidates_are_in_the_order_drawn():
    posterior = long_memory_posterior()
    few, many = draw(AncestralSampler(1), posterior), draw(AncestralSampler(1), posterior)
    assert torch.equal(few.codes, many.codes)
    assert few.log_proposal.shape == (1,)


def test_progress_counts_frames():
    calls = []
    posterior = random_posterior(0, n_frames=4)
    draw(AncestralSampler(4, batch_size=2), posterior, on_frame=lambda *call: calls.append(call))
    assert calls == [(0, 4), (1, 4), (1, 4), (2, 4), (2, 4), (3, 4), (3, 4), (4, 4)]


def test_weighted_draws_estimate_the_evidence():
    """Importance weights are unbiased: their mean is the evidence of the whole mixture."""
    posterior = random_posterior(2, n_codes=(3, 3), n_frames=4, scale=1.0)
    found = draw(AncestralSampler(8000), posterior)
    weights = (found.log_posterior - found.log_proposal).exp()
    exact = math.exp(enumerate_posterior(posterior).log_evidence)
    error = float(weights.std()) / math.sqrt(len(weights))
    # Four standard errors: one run in 16,000 would fail by chance; the seed is fixed.
    assert abs(float(weights.mean()) - exact) < 4 * error
    assert error < 0.04 * exact


def test_draws_are_independent_between_frames_and_candidates():
    """With flat priors and likelihood each code is uniform, whatever the others are."""
    posterior = random_posterior(0, n_codes=(2, 2), n_frames=2, scale=0.0)
    codes = draw(AncestralSampler(4000), posterior).codes
    joint = codes.permute(1, 0, 2).flatten(1) @ torch.tensor([8, 4, 2, 1])
    counts = torch.bincount(joint, minlength=16)
    expected = 4000 / 16
    # Chi-square of 15 degrees of freedom: above 37.7 once in 1,000 runs; the seed is fixed.
    assert float(((counts - expected) ** 2 / expected).sum()) < 37.7


def test_top_1_is_greedy():
    posterior = random_posterior(0, n_codes=(4, 5), n_frames=6)
    found = draw(AncestralSampler(3, filters=Filters(joint_top_k=1)), posterior)
    state = posterior.start(1)
    for _ in range(6):
        state = posterior.extend(state, posterior.top(state, 1))
    for candidate in range(3):
        assert torch.equal(found.codes[:, candidate], state.history[0])
    assert torch.equal(found.log_proposal, torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("wrong", [{"n_candidates": 0}, {"batch_size": 0}])
def test_counts_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AncestralSampler(**wrong)


def test_is_built_from_its_configuration(tmp_path):
    spec = Registry.from_plugins(samplers=plugin).find(Kind.SAMPLER, "ancestral").spec
    assert spec.config is AncestralConfig
    config = AncestralConfig(
        n_candidates=3, batch_size=2, temperature=0.9, top_k=4, top_p=0.8, joint_top_k=5
    )
    sampler = build_ancestral(config, build_context(tmp_path))
    assert (sampler.n_candidates, sampler.batch_size) == (3, 2)
    assert sampler.filters == Filters(0.9, 4, 0.8, 5, 1.0)
    assert build_ancestral(AncestralConfig(), build_context(tmp_path)).n_candidates == 16


@pytest.mark.parametrize(
    "wrong", [{"n_candidates": 0}, {"temperature": 0}, {"top_p": 0}, {"top_k": -1}, {"sigma": 1}]
)
def test_configuration_refuses(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AncestralConfig(**wrong)
