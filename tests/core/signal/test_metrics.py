import math

import numpy as np
import pytest
import torch

from lqsep.core.errors import ShapeError
from lqsep.core.signal.metrics import (
    LIMIT_DB,
    WindowedScore,
    sdr,
    si_sdr,
    silent_windows,
    windowed_sdr,
    windowed_si_sdr,
)

RATE = 22_050


def test_sdr_by_hand():
    # energies 4 + 16 and 1 + 4
    assert sdr(torch.tensor([[2.0], [4.0]]), torch.tensor([[1.0], [2.0]])) == pytest.approx(
        10 * math.log10(4)
    )
    reference = np.random.default_rng(0).standard_normal((2, 999))
    assert sdr(reference, 0 * reference) == 0
    assert sdr(reference, 2 * reference) == pytest.approx(0)
    assert sdr(reference, -reference) == pytest.approx(-20 * math.log10(2))
    assert sdr(reference, reference) == math.inf
    assert math.isnan(sdr(0 * reference, 0 * reference))
    assert sdr(0 * reference, reference) == -math.inf


def test_si_sdr_of_silence():
    """A silent estimate has nothing of the reference, and no scale makes it have."""
    reference = np.random.default_rng(0).standard_normal((2, 999))
    assert si_sdr(reference, 0 * reference) == -math.inf
    assert si_sdr(reference, reference) == si_sdr(reference, 2 * reference) == math.inf
    assert math.isnan(si_sdr(0 * reference, reference))
    assert math.isnan(si_sdr(0 * reference, 0 * reference))


@pytest.mark.parametrize("name", ["sdr", "sdr_est_tail_zeroed", "sdr_first_30000"])
def test_sdr_equals_museval(golden, name):
    arrays = golden.npz("sdr")
    # Scored as float32: their rounding alone moves the result by 4e-8 dB.
    truth, found = (
        (arrays[key] / arrays["scale"]).astype("f") for key in ("gt_int16", "est_int16")
    )
    n_samples = 30_000 if name == "sdr_first_30000" else truth.shape[1]
    for source in range(2):
        # museval's default windows of 44,100 samples: the rest of the 65,536 does not count.
        score = windowed_sdr(
            truth[source, :n_samples], found[source, :n_samples], RATE, window_s=44_100 / RATE
        )
        assert len(score.values) == 1
        # energy ratio and museval agree to 1e-11 dB; the rest is for other orders of summation
        assert score.median == pytest.approx(arrays[name][source], abs=1e-9)


def test_si_sdr_ignores_the_scale_only():
    rng = np.random.default_rng(0)
    reference, noise = rng.standard_normal((2, 1, 4000))
    # noise without the reference's direction: then it is the distortion
    noise -= (noise @ reference.T) / (reference @ reference.T) * reference
    noise *= np.linalg.norm(reference) / np.linalg.norm(noise)
    for scale in (1e-3, 1.0, -7.0):
        assert si_sdr(reference, scale * (reference + 0.1 * noise)) == pytest.approx(20)
        assert si_sdr(scale * reference, reference + 0.1 * noise) == pytest.approx(20)
    assert sdr(reference, reference + 0.1 * noise) == pytest.approx(20)
    assert si_sdr(reference, noise) < -200
    assert math.isnan(si_sdr(0 * reference, noise))


def test_si_sdr_takes_one_scale_for_all_channels():
    reference = np.ones((2, 10))
    assert si_sdr(reference, np.array([[1.0], [0.5]]) * reference) < 20


def test_windows():
    # Errors of 1/10, 1/100, 1/1000 in the three seconds; half a second remains.
    reference = np.ones(350)
    estimate = reference + np.repeat([0.1, 0.01, 0.001, 5.0], 100)[:350]
    score = windowed_sdr(reference, estimate, 100)
    assert score.values == pytest.approx((20, 40, 60))
    assert (score.median, score.mean, score.n_silent) == (pytest.approx(40), pytest.approx(40), 0)
    score = windowed_sdr(reference, estimate, 100, window_s=2.0, hop_s=1.0)
    # mean energies of two windows each
    expected = [-10 * math.log10((a**2 + b**2) / 2) for a, b in ((0.1, 0.01), (0.01, 0.001))]
    assert score.values == pytest.approx(expected)


def test_a_wave_shorter_than_a_window_is_one():
    score = windowed_sdr(np.ones(30), np.full(30, 1.1), 100)
    assert score.values == pytest.approx((20,))


def test_silent_windows_are_left_out_and_counted():
    reference = np.repeat([1.0, 0.0, 1.0, 0.9e-4], 100)[None]
    estimate = np.repeat([1.1, 0.3, 0.0, 0.0], 100)[None]
    score = windowed_sdr(reference, estimate, 100)
    # a silent estimate counts, with 0 dB; -81 dB is silence
    assert score.values == pytest.approx((20, 0))
    assert score.n_silent == 2
    assert silent_windows(reference, 100).tolist() == [False, True, False, True]
    assert windowed_sdr(reference, estimate, 100, silence_db=-90).n_silent == 1
    nothing = windowed_sdr(0 * reference, estimate, 100)
    assert (nothing.values, nothing.n_silent) == ((), 4)
    assert math.isnan(nothing.median) and math.isnan(nothing.mean)


def test_windows_are_within_a_limit():
    """So that a perfect window, or one without anything of its source, leaves a mean."""
    rng = np.random.default_rng(0)
    reference, noise = rng.standard_normal((2, 300))
    estimate = np.where(np.arange(300) < 100, reference, reference + 0.1 * noise)
    estimate[200:] = 0
    for windowed, metric, silent in (
        (windowed_sdr, sdr, 0.0),
        (windowed_si_sdr, si_sdr, -LIMIT_DB),
    ):
        found = windowed(reference, estimate, 100, window_s=1, hop_s=1)
        between = metric(reference[100:200], estimate[100:200])
        assert found.values == pytest.approx((LIMIT_DB, between, silent))
        assert found.mean == pytest.approx((LIMIT_DB + between + silent) / 3)
    # Finite ones, too: rounding, or nothing but rounding.
    tiny = windowed_sdr(reference, reference * (1 + 1e-9), 100, window_s=3)
    assert tiny.values == (LIMIT_DB,)
    assert windowed_sdr(1e-3 * reference, 1e3 * noise, 100, window_s=3).values == (-LIMIT_DB,)


def test_median_with_infinite_values():
    assert WindowedScore((math.inf, math.inf, 3.0), 0).median == math.inf
    assert WindowedScore((1.0, 2.0, 3.0, math.inf), 0).median == 2.5


def test_windowed_si_sdr():
    rng = np.random.default_rng(0)
    reference, noise = rng.standard_normal((2, 1000))
    score = windowed_si_sdr(reference, 3 * reference + 0.1 * noise, 100)
    assert len(score.values) == 4  # 4 s windows, one every 2 s, in 10 s
    for number, value in enumerate(score.values):
        part = slice(200 * number, 200 * number + 400)
        expected = si_sdr(reference[part], 3 * reference[part] + 0.1 * noise[part])
        assert value == pytest.approx(expected)


def test_arrays_that_may_not_be_written_to():
    reference = np.ones((1, 10))
    reference.flags.writeable = False
    assert sdr(reference, torch.full((1, 10), 1.1, dtype=torch.float64)) == pytest.approx(20)


@pytest.mark.parametrize("shapes", [((1, 5), (1, 6)), ((1, 5), (2, 5)), ((1, 0), (1, 0))])
def test_shapes_that_do_not_fit(shapes):
    for metric in (sdr, si_sdr):
        with pytest.raises(ShapeError, match="expected equal shapes"):
            metric(*(torch.ones(shape) for shape in shapes))
