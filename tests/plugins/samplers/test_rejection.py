import logging
import math

import pytest
import torch

from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import EmptySupportError
from lqsep.core.inference.bounds import log_evidence_bound
from lqsep.core.inference.filters import Filters
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.candidates import DecodedCandidates
from lqsep.plugins.samplers import plugin
from lqsep.plugins.samplers.config import RejectionConfig
from lqsep.plugins.samplers.factory import build_rejection
from lqsep.plugins.samplers.rejection import RejectionSampler
from lqsep.plugins.selectors.mean import MeanSelector
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import SamplerContract
from lqsep.testing.enumeration import enumerate_sampling
from lqsep.testing.posteriors import dead_end_posterior, draw, long_memory_posterior
from lqsep.testing.toys import (
    DenseBound,
    random_posterior,
)


class TestRejection(SamplerContract):
    def make(self):
        return RejectionSampler(5, max_rounds=100)


class TestRejectionFallingBack(SamplerContract):
    def make(self):
        return RejectionSampler(5, max_rounds=1)


class TestRejectionFiltered(SamplerContract):
    def make(self):
        return RejectionSampler(5, filters=Filters(0.8, top_k=2, joint_top_p=0.9))


def easy_posterior(**kwargs):
    return random_posterior(0, n_codes=(3, 4), n_frames=3, scale=0.7, **kwargs)


def test_reports_what_it_did():
    found = draw(RejectionSampler(10, batch_size=20, max_rounds=50), easy_posterior())
    told = found.diagnostics
    assert told["effective_sample_size"] == found.n_candidates == 10
    assert told["proposals"] == 20 * told["rounds"] and told["rounds"] < 50
    assert 10 <= told["acceptance"] * told["proposals"] <= 29
    assert found.warnings == () and found.log_proposal is None


def test_too_few_accepted_are_resampled_and_said():
    posterior = random_posterior(0, n_codes=(3, 4), n_frames=40)
    found = draw(RejectionSampler(7, batch_size=5, max_rounds=3), posterior)
    told = found.diagnostics
    assert found.n_candidates == 7
    assert (told["rounds"], told["proposals"]) == (3, 15) and told["acceptance"] < 7 / 15
    assert 1 <= told["effective_sample_size"] < 15
    assert len(found.warnings) == 1 and "\n" not in found.warnings[0]
    assert "resampled its 15 draws" in found.warnings[0]
    assert f"effective sample size is {told['effective_sample_size']:.1f}" in found.warnings[0]


def test_without_a_bound_it_resamples_at_once_and_says_why():
    found = draw(RejectionSampler(4), long_memory_posterior(n_frames=6))
    assert found.diagnostics["acceptance"] == 0 and found.n_candidates == 4
    assert "no bound" in found.warnings[0]


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_accepted_candidates_do_not_depend_on_the_rounds(batch_size):
    whole = draw(RejectionSampler(6, batch_size=600, max_rounds=1), easy_posterior())
    parts = draw(RejectionSampler(6, batch_size=batch_size, max_rounds=600), easy_posterior())
    assert not whole.warnings and not parts.warnings
    assert torch.equal(whole.codes, parts.codes)


@pytest.mark.parametrize("n_prompts", [0, 1, 3, 20])
def test_memory_that_runs_out_changes_nothing(n_prompts, caplog):
    prompt = None
    if n_prompts:
        rng = torch.Generator().manual_seed(1)
        prompt = torch.randint(5, (n_prompts, 2, 4), generator=rng)
    plain = long_memory_posterior(n_frames=6, prompt=prompt)
    hungry = long_memory_posterior(n_frames=6, prompt=prompt, most_rows=3)
    calls = []
    with caplog.at_level(logging.WARNING, logger="lqsep"):
        found = draw(RejectionSampler(8), hungry, on_frame=lambda done, n: calls.append(done))
    assert "out of device memory" in caplog.text
    assert calls == sorted(calls) and calls[-1] == 6
    expected = draw(RejectionSampler(8), plain)
    assert torch.equal(found.codes, expected.codes)
    torch.testing.assert_close(found.log_evidence, expected.log_evidence, atol=1e-5, rtol=0)


@pytest.mark.parametrize("max_rounds", [1, 100])
def test_weighing_by_evidence_does_not_weigh_twice(max_rounds):
    found = draw(RejectionSampler(5, max_rounds=max_rounds), easy_posterior())
    assert torch.equal(found.log_evidence, found.log_evidence[:1].expand(5))
    assert float(found.log_evidence[0]) == found.diagnostics["log_evidence"]
    waves = torch.zeros(2, 5, 1, 8)
    decoded = DecodedCandidates(found, waves, waves[0, 0], (0.5, 0.5))
    weights = MeanSelector("evidence").select(decoded, waves[0, 0]).weights
    torch.testing.assert_close(weights, torch.full((2, 5), 0.2))


def test_draws_that_cannot_go_on_are_left_out():
    for max_rounds in (1, 1000):
        sampler = RejectionSampler(8, batch_size=200, max_rounds=max_rounds)
        found = draw(sampler, dead_end_posterior())
        assert (found.codes[0] == 1).all() and found.n_candidates == 8
        # A tenth of the draws live, each of evidence one. Four standard errors of 200 draws.
        assert math.exp(found.diagnostics["log_evidence"]) == pytest.approx(0.1, abs=0.085)
    with pytest.raises(EmptySupportError, match="none of 6 draws"):
        draw(RejectionSampler(2, max_rounds=3), dead_end_posterior(living=0.0))


@pytest.mark.parametrize(
    "filters",
    [Filters(), Filters(0.5), Filters(top_k=2), Filters(top_p=0.6), Filters(joint_top_k=3)],
    ids=str,
)
@pytest.mark.parametrize("prompted", [False, True])
def test_bound_holds_and_is_reached(filters, prompted):
    for seed in range(4):
        posterior = random_posterior(seed, n_codes=(3, 4), n_frames=3)
        if prompted:
            prompt = torch.tensor([[[seed % 3], [1]]])
            posterior = SequencePosterior(posterior.priors, posterior.bound, prompt=prompt)
        exact = enumerate_sampling(posterior, filters)
        largest = float((exact.log_target - exact.log_proposal).nan_to_num(nan=-math.inf).max())
        bound = log_evidence_bound(posterior, filters)
        assert largest <= bound < posterior.log_upper()
        if filters.joint_top_k == 0 and filters.top_k == 0 and filters.top_p == 1:
            # Three frames' allowance for rounding.
            assert bound == pytest.approx(largest, abs=1e-4)


def test_bound_of_all_rows_of_a_prompt():
    plain = random_posterior(0, n_codes=(3, 4), n_frames=1)
    rows = torch.cartesian_prod(torch.arange(3), torch.arange(4))[:, :, None]
    alone = [
        log_evidence_bound(
            SequencePosterior(plain.priors, plain.bound, prompt=row[None]), Filters()
        )
        for row in rows
    ]
    together = SequencePosterior(plain.priors, plain.bound, prompt=rows)
    assert log_evidence_bound(together, Filters()) == pytest.approx(max(alone), abs=1e-9)
    assert max(alone) - min(alone) > 0.5


def test_bound_without_chains_is_the_likelihoods():
    memory = long_memory_posterior(n_frames=6)
    assert log_evidence_bound(memory, Filters()) == math.inf
    posterior = SequencePosterior(memory.priors, DenseBound(memory.bound.log_likelihood))
    assert log_evidence_bound(posterior, Filters()) == posterior.log_upper()
    # A context of one frame forgets what came before: not the chain.
    short = random_posterior(0, max_frames=1)
    assert log_evidence_bound(short, Filters()) == short.log_upper()


@pytest.mark.parametrize("wrong", [{"n_candidates": 0}, {"max_rounds": 0}, {"batch_size": 0}])
def test_counts_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RejectionSampler(**wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RejectionConfig(**wrong)


def test_is_built_from_its_configuration(tmp_path):
    spec = Registry.from_plugins(samplers=plugin).find(Kind.SAMPLER, "rejection").spec
    assert spec.config is RejectionConfig
    config = RejectionConfig(n_candidates=3, max_rounds=2, batch_size=9, joint_top_k=5)
    sampler = build_rejection(config, build_context(tmp_path))
    assert (sampler.n_candidates, sampler.max_rounds, sampler.batch_size) == (3, 2, 9)
    assert sampler.filters == Filters(joint_top_k=5)
    assert build_rejection(RejectionConfig(), build_context(tmp_path)).n_candidates == 16
