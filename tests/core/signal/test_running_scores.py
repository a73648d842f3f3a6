"""Scores from blocks are those of whole waves."""

import math

import jaxtyping
import pytest
import torch

from lqsep.core.errors import ShapeError
from lqsep.core.signal.metrics import LIMIT_DB, sdr, si_sdr, windowed_sdr, windowed_si_sdr
from lqsep.core.signal.running_scores import RunningScore

RATE = 100


def scored(reference, estimate, sizes):
    score = RunningScore(RATE)
    for r, e in zip(reference.split(sizes, 1), estimate.split(sizes, 1), strict=True):
        score.push(r, e)
    return score.result()


@pytest.mark.parametrize("n_samples", [1, 60, 100, 101, 350, 700])
@pytest.mark.parametrize("size", [1, 33, 100, 1000])
def test_blocks_of_any_size_give_the_metrics_of_the_whole(n_samples, size):
    generator = torch.Generator().manual_seed(n_samples)
    reference = torch.randn(2, n_samples, generator=generator)
    estimate = 0.7 * reference + 0.3 * torch.randn(2, n_samples, generator=generator)
    reference[:, 200:300] = 0
    score = scored(reference, estimate, size)
    # float64 throughout
    assert score.sdr == pytest.approx(sdr(reference, estimate), abs=1e-9)
    assert score.si_sdr == pytest.approx(si_sdr(reference, estimate), abs=1e-9)
    windows = windowed_sdr(reference, estimate, RATE)
    assert score.sdr_median == pytest.approx(windows.median, abs=1e-9)
    assert (score.n_windows, score.n_silent) == (len(windows.values), windows.n_silent)
    invariant = windowed_si_sdr(reference, estimate, RATE, window_s=1, hop_s=None)
    assert score.si_sdr_median == pytest.approx(invariant.median, abs=1e-9)


def test_extremes():
    wave, nothing = torch.ones(1, 300), torch.zeros(1, 300)
    equal = scored(wave, wave, 300)
    assert equal.sdr == equal.sdr_median == equal.si_sdr == equal.si_sdr_median == LIMIT_DB
    silent_estimate = scored(wave, nothing, 300)
    assert (silent_estimate.sdr, silent_estimate.sdr_median) == (0, 0)
    assert silent_estimate.si_sdr == silent_estimate.si_sdr_median == -LIMIT_DB
    for estimate in (wave, nothing):
        silent_reference = scored(nothing, estimate, 300)
        assert silent_reference.n_silent == 3
        assert math.isnan(silent_reference.sdr) and math.isnan(silent_reference.si_sdr)
        assert math.isnan(silent_reference.sdr_median)


def test_mistakes():
    # Annotations may be checked before the shapes are.
    wrong_shape = (ShapeError, jaxtyping.TypeCheckError)
    with pytest.raises(wrong_shape, match="equal shapes|Type-check"):
        RunningScore(RATE).push(torch.zeros(1, 3), torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="at least one sample"):
        RunningScore(RATE).result()
