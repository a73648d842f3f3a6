"""Pieces longer than the priors' context: two and a half contexts, by the posterior and by a user.

The recorded run of the reference implementation covers one and a half contexts (96 frames of 160);
all of them are checked against priors that are asked from scratch at every frame.
"""

import numpy as np
import pytest
import torch

from lqsep import Separator
from lqsep.core.inference.filters import Filters
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.plugins.codebook_sum.likelihood import CodebookSumLikelihood
from lqsep.plugins.codebook_sum.table import SumTable
from lqsep.plugins.jukebox.prior_names import config_from_reference, from_reference
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.plugins.samplers.rejection import RejectionSampler
from lqsep.plugins.samplers.smc import SMCSampler
from lqsep.plugins.selectors.best import BestSelector
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.factory import build_model
from lqsep.plugins.transformer.prior import TransformerPrior
from lqsep.testing.dense import dense_step, dense_values
from lqsep.testing.toys import AddingCodec, AddingLikelihood, LongMemoryPrior

pytestmark = pytest.mark.integration

CONTEXT, N_FRAMES, N_RECORDED = 64, 160, 96

# Windows of 64 frames that start at 0, 32, 64 and 96: each frame is predicted in the first one
# that holds it.
WINDOWS = [0 if frame < 64 else 32 * (frame // 32 - 1) for frame in range(N_FRAMES)]


@pytest.fixture(scope="module")
def golden_posterior(golden):
    codebook = torch.from_numpy(golden.npz("codec")["codebook_l2"])
    priors = []
    for source in range(2):
        path = golden.path(f"prior_{source}.pth.tar")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        settings = config_from_reference(checkpoint["hps"])
        model = build_model(TransformerConfig(**settings), codebook)
        model.load_state_dict(from_reference(checkpoint["model"]))
        priors.append(TransformerPrior(model))
    recorded = golden.npz("greedy")
    # The recorded mixture, and a second one after it.
    mix_codes = torch.from_numpy(
        np.concatenate([recorded["window_mix_codes"][0], golden.npz("posterior")["mix_codes"][0]])
    ).long()
    sums = torch.from_numpy(golden.npz("codebook_sums")["sums"])
    likelihood = CodebookSumLikelihood(
        codebook, sigma=float(recorded["sigma"]), table=SumTable(sums, (0.5, 0.5), "")
    )
    encoded = EncodedMixture(
        torch.zeros(1, 64 * len(mix_codes)), codebook[mix_codes], mix_codes, 1.0
    )
    return SequencePosterior(priors, likelihood.bind(encoded, (0.5, 0.5)))


def from_scratch(prior, codes, frame):
    """``log p(code | window so far)`` of every code at a frame, without any cache or state."""
    known = codes[WINDOWS[frame] : frame]
    n_codes = prior.info.codebook_size
    tries = torch.cat([known.expand(n_codes, -1), torch.arange(n_codes)[:, None]], 1)
    return prior.log_prob(tries)[:, -1].double()


def test_windows_are_those_of_the_rule():
    assert [WINDOWS[frame] for frame in (0, 63, 64, 95, 96, 127, 128, 159)] == [
        0, 0, 32, 32, 64, 64, 96, 96,
    ]  # fmt: skip


@pytest.mark.slow
def test_greedy_run_of_two_and_a_half_contexts(golden, golden_posterior):
    posterior = golden_posterior
    assert posterior.n_frames == N_FRAMES == 2.5 * CONTEXT
    assert all(prior.info.max_frames == CONTEXT for prior in posterior.priors)
    found = BeamSampler(1).sample(posterior, generator=torch.Generator())
    codes = found.codes[:, 0]

    recorded = golden.npz("greedy")
    for source in range(2):
        # Codes are exact: the recorded run's smallest margin is 2.9e-3.
        first = torch.from_numpy(recorded[f"x_{source}"][0]).long()
        window = torch.from_numpy(recorded[f"window_fixed_x_{source}"][0]).long()
        assert torch.equal(codes[source, :CONTEXT], first)
        assert torch.equal(codes[source, N_RECORDED - CONTEXT : N_RECORDED], window)

    log_prior, log_likelihood, log_evidence, margins = torch.zeros(2).double(), 0.0, 0.0, []
    for frame in range(N_FRAMES):
        tables = [from_scratch(prior, codes[s], frame) for s, prior in enumerate(posterior.priors)]
        likelihood = posterior.bound.at(frame, codes[None, :, :frame])
        step = dense_step(tables[0][None], tables[1][None], dense_values(likelihood, 1))
        best = step.log_posterior.flatten().topk(2)
        n_codes = len(tables[1])
        pair = [int(best.indices[0]) // n_codes, int(best.indices[0]) % n_codes]
        assert codes[:, frame].tolist() == pair, f"frame {frame}"
        margins.append(float(best.values[0] - best.values[1]))
        log_prior += torch.stack([table[code] for table, code in zip(tables, pair, strict=True)])
        log_likelihood += float(
            likelihood.at(torch.zeros(1, dtype=torch.int64), codes[None, :, frame])
        )
        log_evidence += float(step.log_evidence)
    # The comparison is fair: float32 differs by some 1e-5 between one frame and the whole.
    assert min(margins) > 1e-3
    # Scores run on through all windows; 160 terms of float32.
    torch.testing.assert_close(found.log_prior[:, 0], log_prior, atol=5e-4, rtol=0)
    assert float(found.log_likelihood[0]) == pytest.approx(log_likelihood, abs=1e-4)
    assert float(found.log_evidence[0]) == pytest.approx(log_evidence, abs=1e-3)


@pytest.mark.parametrize(
    "sampler",
    [
        AncestralSampler(3),
        BeamSampler(3),
        RejectionSampler(3, max_rounds=1),
        SMCSampler(3, n_particles=4, n_islands=2),
    ],
    ids=["ancestral", "beam", "rejection", "smc"],
)
def test_scores_of_every_sampler_run_on(golden_posterior, sampler):
    """Draws over all windows, rescored through `Prior.log_prob` of one window after the other."""
    posterior = golden_posterior
    found = sampler.sample(posterior, generator=torch.Generator().manual_seed(0))
    for source, prior in enumerate(posterior.priors):
        expected = torch.zeros(3, dtype=torch.float64)
        for start in (0, 32, 64, 96):
            frames = [frame for frame in range(N_FRAMES) if WINDOWS[frame] == start]
            inside = prior.log_prob(found.codes[source][:, start : frames[-1] + 1]).double()
            expected += inside[:, frames[0] - start :].sum(1)
        torch.testing.assert_close(found.log_prior[source], expected, atol=5e-4, rtol=0)
    expected = torch.zeros(3, dtype=torch.float64)
    for frame in range(N_FRAMES):
        history = found.codes[:, :, :frame].transpose(0, 1)
        likelihood = posterior.bound.at(frame, history)
        expected += likelihood.at(torch.arange(3), found.codes[:, :, frame].T)
    torch.testing.assert_close(found.log_likelihood, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "sampler",
    [
        AncestralSampler(8, filters=Filters(joint_top_k=1)),
        BeamSampler(4),
        RejectionSampler(4),
        SMCSampler(4),
    ],
    ids=["ancestral", "beam", "rejection", "smc"],
)
def test_separating_a_piece_of_two_and_a_half_contexts(sampler):
    """One segment of 40 frames, contexts of 16: exact codes from the first frame to the last."""
    levels, hop, n_frames = (0.0, 0.1, 0.35), 4, 40
    codec = AddingCodec(levels, hop_length=hop)
    rng = torch.Generator().manual_seed(0)
    votes = torch.randn(2, 3, 3, generator=rng)
    separator = Separator(
        codec=codec,
        priors={
            name: LongMemoryPrior(table, max_frames=16)
            for name, table in zip(("drums", "bass"), votes, strict=True)
        },
        # Every pair of codes has a sum of its own, 0.02 or more from the next one.
        likelihood=AddingLikelihood(codec, sigma=0.002),
        sampler=sampler,
        selector=BestSelector(),
        gains=(0.8, 0.2),
        segment_s=60.0,
    )
    codes = torch.randint(3, (2, n_frames), generator=rng)
    stems = torch.tensor(levels)[codes].repeat_interleave(hop, 1).numpy()
    stems *= np.array([[0.8], [0.2]], np.float32)
    separation = separator.separate((stems.sum(0, keepdims=True), codec.info.sample_rate))
    assert len(separation.report.segments) == 1
    assert separation.report.segments[0].n_frames == n_frames
    for source, name in enumerate(("drums", "bass")):
        np.testing.assert_allclose(separation.stems[name][0], stems[source], atol=1e-6)
