"""Sampler `forward-backward` in the whole pipeline, and under a model that is not for it."""

import numpy as np
import pytest
import torch

from lqsep.cli.main import run
from lqsep.core.audio.files import write_audio
from lqsep.core.separation.separator import Separator
from lqsep.plugins.ngram.counts import NgramCounts, count_ngrams
from lqsep.plugins.ngram.prior import NgramPrior
from lqsep.plugins.samplers.forward_backward import ForwardBackwardSampler
from lqsep.plugins.samplers.smc import SMCSampler
from lqsep.plugins.selectors.mean import MeanSelector
from lqsep.testing.toys import AddingCodec, AddingLikelihood

pytestmark = pytest.mark.integration

LEVELS, GAINS, RATE = (0.0, 0.1, 0.35), (0.5, 0.5), 8000


def cycle(n_frames, step):
    """A source that goes through its codes in turn, and now and then stays."""
    rng = np.random.default_rng(step + 1)
    return torch.from_numpy(np.cumsum(step * (rng.random(n_frames) < 0.9)) % 3)


def separator(sampler):
    codec = AddingCodec(LEVELS)
    priors = {}
    for name, step in (("up", 1), ("down", -1)):
        heard = [cycle(4000, step)]
        counts = [NgramCounts(*count_ngrams(heard, n, 3), 3) for n in (1, 2)]
        priors[name] = NgramPrior(counts, smoothing=1.0)
    return Separator(
        codec=codec,
        priors=priors,
        likelihood=AddingLikelihood(codec, sigma=0.03),
        sampler=sampler,
        selector=MeanSelector(),
        gains=GAINS,
        segment_s=0.1,
        overlap=0.2,
        name="toy",
    )


def mixture(n_frames=1000):
    codes = torch.stack([cycle(4000 + n_frames, step)[4000:] for step in (1, -1)])
    stems = torch.tensor(LEVELS)[codes].repeat_interleave(4, 1).numpy() * GAINS[0]
    noise = np.random.default_rng(0).normal(size=stems.shape[1]) * 0.05
    return (stems.sum(0) + noise)[None].astype(np.float32), stems


def error(separation, stems):
    found = np.concatenate(list(separation.stems.values()))
    return float(np.square(found - stems).mean())


def test_smoothing_beats_a_particle_filter_of_as_many_candidates():
    """Both sum to the same mixture: only the priors, over time, tell who plays what."""
    wave, stems = mixture()
    exact = separator(ForwardBackwardSampler(16)).separate((wave, RATE), seed=1)
    filtered = separator(SMCSampler(16, n_particles=4)).separate((wave, RATE), seed=1)
    assert error(exact, stems) < 0.8 * error(filtered, stems)
    assert len(exact.report.segments) > 4
    whole = exact.report.segments[0].sampler["log_evidence"]
    # Segments overlap, and all of them lower the evidence of this mixture.
    assert sum(segment.log_evidence for segment in exact.report.segments) < whole
    for segment in exact.report.segments:
        assert segment.sampler["log_evidence"] == whole < segment.log_evidence < 0
        assert 0 < segment.sampler["entropy_0"] < np.log(3)


def test_a_model_with_other_priors_is_refused_in_one_line(tiny_model, tmp_path, capsys):
    write_audio(tmp_path / "in.wav", np.zeros((1, 4000), np.float32), 8000)
    call = ["separate", str(tmp_path / "in.wav"), "-n", str(tiny_model), "-o", str(tmp_path / "o")]
    assert run([*call, "--sampler", "forward-backward", "--candidates", "3"]) == 2
    message = capsys.readouterr().err
    assert message.count("is no first-order Markov chain") == 2
    assert "Traceback" not in message and "'ngram'" in message
