"""The posterior against numbers recorded from the reference implementation, LQVAE-separation.

Its matrices have source 1 on the rows; ours, source 0. The recorded table of sums for gains of a
half each is symmetric. Tolerances are those that float32 leaves at values of a thousand nats:
4.2e-4 for the log posterior, 4e-4 for the log likelihood.
"""

import pytest
import torch

from lqsep.core.inference.filters import Filters, filter_table
from lqsep.core.inference.frame_distribution import FrameDistribution
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.plugins.codebook_sum.likelihood import CodebookSumLikelihood
from lqsep.plugins.codebook_sum.table import SumTable
from lqsep.plugins.jukebox.prior_names import config_from_reference, from_reference
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.factory import build_model
from lqsep.plugins.transformer.prior import TransformerPrior
from lqsep.testing.dense import dense_greedy, dense_values

pytestmark = pytest.mark.integration

_POSTERIOR, _LIKELIHOOD = 4.2e-4, 4e-4


@pytest.fixture(scope="module")
def codebook(golden):
    return torch.from_numpy(golden.npz("codec")["codebook_l2"])


@pytest.fixture(scope="module")
def priors(golden, codebook):
    def load(source):
        path = golden.path(f"prior_{source}.pth.tar")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        settings = config_from_reference(checkpoint["hps"])
        model = build_model(TransformerConfig(**settings), codebook)
        model.load_state_dict(from_reference(checkpoint["model"]))
        return TransformerPrior(model)

    return load(0), load(1)


@pytest.fixture(scope="module")
def make_posterior(golden, codebook, priors):
    def make(mix_codes, *, sigma=0.4, gains=(0.5, 0.5), prompt=None):
        sums = golden.npz("codebook_sums")
        # The recorded system has its weights swapped between the sources.
        table = sums["sums"] if gains == (0.5, 0.5) else sums["sums_a37"].T
        table = SumTable(torch.from_numpy(table.astype("int32")), gains, "")
        likelihood = CodebookSumLikelihood(codebook, sigma=sigma, table=table)
        codes = torch.from_numpy(mix_codes).long()
        encoded = EncodedMixture(torch.zeros(1, 64 * len(codes)), codebook[codes], codes, 1.0)
        return SequencePosterior(priors, likelihood.bind(encoded, gains), prompt=prompt)

    return make


def codes_of(*arrays):
    """``rows sources frames`` from one array per source."""
    return torch.stack([torch.from_numpy(array).long() for array in arrays], 1)


def joint(state, filters=None):
    """Every pair's normalised log posterior, ``rows K0 K1``, through the fast code."""
    frame = FrameDistribution(state.likelihood, state.tables, filters or Filters())
    pairs = torch.cartesian_prod(torch.arange(64), torch.arange(64))
    rows = []
    for n in range(state.n_rows):
        hypotheses = torch.full((len(pairs),), n)
        score, _ = frame.score(hypotheses, pairs)
        rows.append(frame.log_proposal(hypotheses, score).view(64, 64))
    return torch.stack(rows)


def close(found, recorded, tolerance):
    recorded = torch.from_numpy(recorded).double()
    torch.testing.assert_close(found.double(), recorded, atol=tolerance, rtol=0)


def test_forced_run(golden, make_posterior):
    """Teacher-forced: tables, likelihood and posterior at the recorded steps, sums at the end."""
    recorded = golden.npz("posterior")
    posterior = make_posterior(recorded["mix_codes"][0])
    forced = codes_of(recorded["forced_0"], recorded["forced_1"])
    state = posterior.start(3)
    steps = recorded["latent_steps"].tolist()
    for frame in range(posterior.n_frames):
        if frame in steps:
            at = steps.index(frame)
            # Logits of 6 layers of float32: measured 2e-6.
            close(state.tables[0], recorded["latent_log_p_0"][at], 2e-5)
            close(state.tables[1], recorded["latent_log_p_1"][at], 2e-5)
            values = dense_values(state.likelihood, 1)[0]
            close(values.T, recorded["latent_log_likelihood"][at], _LIKELIHOOD)
            log_posterior = joint(state).transpose(1, 2)
            close(log_posterior, recorded["latent_log_posterior"][at], _POSTERIOR)
            if at == 1:
                exact = recorded["latent_log_posterior_f64_step1_chain0"]
                close(log_posterior[0], exact, _POSTERIOR)
        state = posterior.extend(state, posterior.chosen(state, forced[:, :, frame]))
    # 64 terms of float32.
    close(state.log_prior[0], recorded["latent_log_p_0_sum"], 2e-4)
    close(state.log_prior[1], recorded["latent_log_p_1_sum"], 2e-4)


def test_unequal_gains(golden, make_posterior):
    recorded = golden.npz("posterior")
    step = int(recorded["asym_step"])
    posterior = make_posterior(recorded["mix_codes"][0], gains=(0.7, 0.3))
    forced = codes_of(recorded["forced_0"], recorded["forced_1"])
    state = posterior.start(3)
    for frame in range(step):
        state = posterior.extend(state, posterior.chosen(state, forced[:, :, frame]))
    values = dense_values(state.likelihood, 1)[0]
    close(values.T, recorded["asym_log_likelihood"], _LIKELIHOOD)
    close(joint(state).transpose(1, 2), recorded["asym_log_posterior"], _POSTERIOR)


def test_temperature_and_filters(golden, make_posterior):
    """Temperature and top-k of the priors, then top-k of the pairs."""
    recorded = golden.npz("posterior")
    step = int(recorded["knob_step"])
    posterior = make_posterior(recorded["mix_codes"][0], sigma=float(recorded["knob_sigma"]))
    prefix = codes_of(recorded["knob_prefix_0"], recorded["knob_prefix_1"])
    state = posterior.start(3)
    for frame in range(step):
        state = posterior.extend(state, posterior.chosen(state, prefix[:, :, frame]))
    of_tables = Filters(float(recorded["knob_temp"]), int(recorded["knob_top_k"]))
    for source, table in enumerate(state.tables):
        close(filter_table(table, of_tables), recorded[f"knob_log_p_{source}"], 2e-5)
    filters = Filters(
        of_tables.temperature, of_tables.top_k, joint_top_k=int(recorded["knob_top_k_posterior"])
    )
    expected = torch.from_numpy(recorded["knob_log_posterior"]).double().transpose(1, 2)
    found = joint(state, filters)
    kept = expected > float("-inf")
    assert (kept.flatten(1).sum(1) == 25).all()
    # With this sigma values reach 4e3 nats: two roundings to float32 are 2.4e-7 of them.
    torch.testing.assert_close(found[kept], expected[kept], atol=_POSTERIOR, rtol=2.4e-7)
    for seed in range(20):
        codes = posterior.draw(state, torch.Generator().manual_seed(seed), filters).codes
        assert kept[torch.arange(3), codes[:, 0], codes[:, 1]].all()
    best = posterior.top(state, 75, filters)
    listed = torch.zeros_like(kept)
    listed[best.rows, best.codes[:, 0], best.codes[:, 1]] = True
    assert torch.equal(listed, kept)


def greedy_codes(golden):
    """The recorded greedy run over one context, and its continuation in the next window."""
    recorded = golden.npz("greedy")
    first = codes_of(recorded["x_0"], recorded["x_1"])[0]
    window = codes_of(recorded["window_fixed_x_0"], recorded["window_fixed_x_1"])[0]
    assert torch.equal(window[:, :32], first[:, 32:])
    return first, torch.cat([first, window[:, 32:]], 1)


@pytest.mark.parametrize(
    "sampler",
    [BeamSampler(1), AncestralSampler(2, filters=Filters(joint_top_k=1))],
    ids=["beam", "ancestral"],
)
def test_greedy_run(golden, make_posterior, sampler):
    """Codes are exact: the recorded run's smallest margin is 3.2e-3."""
    recorded = golden.npz("greedy")
    posterior = make_posterior(recorded["mix_codes"][0], sigma=float(recorded["sigma"]))
    found = sampler.sample(posterior, generator=torch.Generator())
    assert torch.equal(found.codes[:, 0], greedy_codes(golden)[0])
    close(found.log_prior[0, :1], recorded["log_p_0_sum"], 2e-4)
    close(found.log_prior[1, :1], recorded["log_p_1_sum"], 2e-4)


def test_dense_reference_is_the_recorded_run(golden, make_posterior):
    recorded = golden.npz("greedy")
    posterior = make_posterior(recorded["mix_codes"][0], sigma=float(recorded["sigma"]))
    run = dense_greedy(posterior.priors, posterior.bound)
    assert torch.equal(run.codes, greedy_codes(golden)[0])
    close(run.margin, recorded["margin"][:, 0], _POSTERIOR)


def test_greedy_run_over_windows(golden, make_posterior):
    """One and a half contexts; the second window is primed with the first one's last half."""
    recorded = golden.npz("greedy")
    posterior = make_posterior(recorded["window_mix_codes"][0], sigma=float(recorded["sigma"]))
    assert posterior.n_frames == 96 == 1.5 * posterior.priors[0].info.max_frames
    found = BeamSampler(1).sample(posterior, generator=torch.Generator())
    assert torch.equal(found.codes[:, 0], greedy_codes(golden)[1])


def test_first_step_of_the_second_window(golden, make_posterior):
    recorded = golden.npz("greedy")
    posterior = make_posterior(recorded["window_mix_codes"][0], sigma=float(recorded["sigma"]))
    codes = greedy_codes(golden)[1]
    state = posterior.start(1)
    for frame in range(64):
        state = posterior.extend(state, posterior.chosen(state, codes[None, :, frame]))
    close(state.tables[0], recorded["window_first_log_p_0"], 2e-5)
    close(state.tables[1], recorded["window_first_log_p_1"], 2e-5)
    values = dense_values(state.likelihood, 1)[0]
    close(values.T, recorded["window_first_log_likelihood_fixed"], _LIKELIHOOD)


def test_window_as_a_prompt(golden, make_posterior):
    """The last half of a context as the prompt of a mixture of its own gives the same codes."""
    recorded = golden.npz("greedy")
    past = codes_of(recorded["window_past_0"], recorded["window_past_1"])
    posterior = make_posterior(
        recorded["window_mix_codes"][0, 64:], sigma=float(recorded["sigma"]), prompt=past
    )
    found = BeamSampler(1).sample(posterior, generator=torch.Generator())
    assert torch.equal(found.codes[:, 0], greedy_codes(golden)[1][:, 64:])
