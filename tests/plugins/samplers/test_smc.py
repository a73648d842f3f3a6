import logging
import math

import pytest
import torch

from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import EmptySupportError
from lqsep.core.inference.filters import Filters
from lqsep.core.interfaces.candidates import DecodedCandidates
from lqsep.plugins.samplers import plugin
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.config import SMCConfig
from lqsep.plugins.samplers.factory import build_smc
from lqsep.plugins.samplers.smc import SMCSampler
from lqsep.plugins.samplers.weights import effective_sample_size, systematic
from lqsep.plugins.selectors.mean import MeanSelector
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import SamplerContract
from lqsep.testing.posteriors import dead_end_posterior, draw, long_memory_posterior


class TestSMC(SamplerContract):
    def make(self):
        return SMCSampler(5)


class TestSMCAlwaysResampling(SamplerContract):
    def make(self):
        return SMCSampler(5, n_particles=6, n_islands=2, resample_below=1.0, batch_size=1)


class TestSMCFiltered(SamplerContract):
    def make(self):
        return SMCSampler(5, filters=Filters(0.8, top_k=2, joint_top_p=0.9))


def test_effective_sample_size():
    weights = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0], [3, 1, 0, 0], [0, 0, 0, 0]])
    found = effective_sample_size(weights.double().log() - 900)
    torch.testing.assert_close(found, torch.tensor([4, 1, 1.6, 0], dtype=torch.float64))


@pytest.mark.parametrize("n", [1, 5, 64])
def test_systematic_resampling(n):
    """Each place as often as its weight says, up to one, and unbiased over the uniform number."""
    rng = torch.Generator().manual_seed(0)
    weight = torch.rand(1, 9, generator=rng, dtype=torch.float64)
    weight[0, [0, 4, 8]] = 0
    expected = n * weight[0] / weight.sum()
    n_offsets = 1000
    offsets = (torch.arange(n_offsets, dtype=torch.float64) + 0.5) / n_offsets
    picked = systematic(weight.log().expand(n_offsets, -1), n, offsets)
    assert picked.shape == (n_offsets, n) and (picked.diff(dim=1) >= 0).all()
    counts = torch.stack([torch.bincount(row, minlength=9) for row in picked]).double()
    assert ((counts - expected).abs() < 1 + 1e-9).all()
    assert (counts[:, expected == 0] == 0).all()
    torch.testing.assert_close(counts.mean(0), expected, atol=2 / n_offsets, rtol=0)


def test_systematic_resampling_at_the_ends():
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    weight = torch.tensor([0.0, 1.0, 3.0, 0.0], dtype=torch.float64).log().expand(2, -1)
    picked = systematic(weight, 4, ends)
    assert picked.tolist() == [[1, 2, 2, 2], [1, 2, 2, 2]]


def test_without_resampling_particles_are_ancestral_draws():
    """One island that never resamples is importance sampling with the proposals of `ancestral`."""
    posterior = long_memory_posterior(scale=2)
    sampler = SMCSampler(4, n_particles=50, n_islands=1, resample_below=0.0)
    found = draw(sampler, posterior)
    assert found.diagnostics["resampled"] == 0
    # The same numbers: the sampler keeps one more per frame for resampling.
    rng = torch.Generator().manual_seed(0)
    uniform = torch.rand(12, 101, dtype=torch.float64, generator=rng)[:, :-1].view(12, 50, 2)
    state = posterior.start(50)
    for frame in range(12):
        codes = posterior.draw(state, uniform=uniform[frame]).codes
        state = posterior.extend(state, posterior.chosen(state, codes))
    expected = float(state.log_evidence.logsumexp(0)) - math.log(50)
    assert found.diagnostics["log_evidence"] == pytest.approx(expected, abs=1e-5)
    effective = float(effective_sample_size(state.log_evidence))
    assert found.diagnostics["effective_sample_size"] == pytest.approx(effective, rel=1e-4)
    picks = {tuple(codes.flatten().tolist()) for codes in found.codes.transpose(0, 1)}
    assert picks <= {tuple(codes.flatten().tolist()) for codes in state.history}


def test_resampling_keeps_the_weights_even():
    posterior = long_memory_posterior(n_frames=30, scale=2)
    never = draw(SMCSampler(n_particles=64, n_islands=1, resample_below=0.0), posterior)
    often = draw(SMCSampler(n_particles=64, n_islands=1), posterior)
    assert often.diagnostics["resampled"] > 2
    assert often.diagnostics["effective_sample_size"] > 0.4 * 64
    assert never.diagnostics["effective_sample_size"] < 0.2 * 64
    assert 1 <= often.diagnostics["unique_ancestors"] <= 16
    assert often.log_posterior.mean() > draw(AncestralSampler(64), posterior).log_posterior.mean()


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("n_prompts", [0, 1, 3, 100])
def test_batches_do_not_matter(batch_size, n_prompts):
    prompt = None
    if n_prompts:
        rng = torch.Generator().manual_seed(1)
        prompt = torch.randint(5, (n_prompts, 2, 4), generator=rng)
    posterior = long_memory_posterior(scale=2, prompt=prompt)
    settings = {"n_particles": 7, "n_islands": 5, "resample_below": 0.9}
    whole = draw(SMCSampler(16, **settings), posterior)
    parts = draw(SMCSampler(16, **settings, batch_size=batch_size), posterior)
    assert torch.equal(whole.codes, parts.codes)
    assert whole.diagnostics["resampled"] == parts.diagnostics["resampled"] > 0
    assert whole.diagnostics["unique_ancestors"] == parts.diagnostics["unique_ancestors"]
    torch.testing.assert_close(whole.log_evidence, parts.log_evidence, atol=1e-5, rtol=0)


def test_memory_that_runs_out_halves_the_islands(caplog):
    plain = long_memory_posterior(scale=2)
    hungry = long_memory_posterior(scale=2, most_rows=10)
    sampler, calls = SMCSampler(8, n_particles=5, n_islands=6), []
    with caplog.at_level(logging.WARNING, logger="lqsep"):
        found = draw(sampler, hungry, on_frame=lambda done, n: calls.append((done, n)))
    assert torch.equal(found.codes, draw(sampler, plain).codes)
    assert "out of device memory with 6 at once" in caplog.text
    assert calls == sorted(calls) and calls[-1] == (12, 12)


def test_weighing_by_evidence_does_not_weigh_twice():
    found = draw(SMCSampler(5), long_memory_posterior(scale=2))
    assert found.log_proposal is None
    assert torch.equal(found.log_evidence, found.log_evidence[:1].expand(5))
    assert float(found.log_evidence[0]) == found.diagnostics["log_evidence"]
    waves = torch.zeros(2, 5, 1, 8)
    decoded = DecodedCandidates(found, waves, waves[0, 0], (0.5, 0.5))
    weights = MeanSelector("evidence").select(decoded, waves[0, 0]).weights
    torch.testing.assert_close(weights, torch.full((2, 5), 0.2))


@pytest.mark.parametrize("batch_size", [None, 7])
def test_particles_and_islands_without_a_way_on_are_dropped(batch_size):
    """With 4 particles two islands in three die out; the estimate counts them as zero."""
    sampler = SMCSampler(
        8, n_particles=4, n_islands=1000, resample_below=0.0, batch_size=batch_size
    )
    found = draw(sampler, dead_end_posterior(0.1))
    assert (found.codes[0] == 1).all() and found.n_candidates == 8
    # An island is resampled when some, but not all, of its particles die.
    assert 250 < found.diagnostics["resampled"] < 450
    # The exact evidence is 0.1; four standard errors of 4000 draws.
    assert math.exp(found.diagnostics["log_evidence"]) == pytest.approx(0.1, abs=0.019)


def test_no_particle_left_is_an_error():
    with pytest.raises(EmptySupportError, match="2 particles on 3 islands"):
        draw(SMCSampler(n_particles=2, n_islands=3), dead_end_posterior(0.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_candidates": 0},
        {"n_particles": 0},
        {"n_islands": 0},
        {"resample_below": 1.5},
        {"resample_below": -0.1},
        {"batch_size": 0},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SMCSampler(**wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SMCConfig(**wrong)


def test_is_built_from_its_configuration(tmp_path):
    spec = Registry.from_plugins(samplers=plugin).find(Kind.SAMPLER, "smc").spec
    assert spec.config is SMCConfig
    config = SMCConfig(
        n_candidates=3, n_particles=4, n_islands=5, resample_below=0.25, batch_size=2, top_k=6
    )
    sampler = build_smc(config, build_context(tmp_path))
    assert (sampler.n_candidates, sampler.n_particles, sampler.n_islands) == (3, 4, 5)
    assert (sampler.resample_below, sampler.batch_size) == (0.25, 2)
    assert sampler.filters == Filters(top_k=6)
    assert build_smc(SMCConfig(), build_context(tmp_path)).n_candidates == 16
