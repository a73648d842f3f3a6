import pytest
import torch

from lqsep.core.signal.disagreement import disagreement

RATE = 100


def equal_weights(n):
    return torch.full((1, n), 1 / n)


def test_candidates_that_agree():
    wave = torch.randn(1, 1, 2, 3 * RATE, generator=torch.Generator().manual_seed(0)).expand(
        1, 4, 2, 3 * RATE
    )
    torch.testing.assert_close(
        # float32 mean of equal numbers.
        disagreement(wave, equal_weights(4), RATE),
        torch.zeros(1, 3, dtype=torch.float64),
        atol=1e-12,
        rtol=0,
    )


def test_by_hand():
    """Second 0: 3 and 1 in one channel, nothing in the other; second 1: opposite; 2: silent."""
    wave = torch.zeros(1, 2, 2, 3 * RATE)
    wave[0, 0, 0, :RATE], wave[0, 1, 0, :RATE] = 3.0, 1.0
    wave[0, 0, 1, RATE : 2 * RATE], wave[0, 1, 1, RATE : 2 * RATE] = 0.5, -0.5
    found = disagreement(wave, equal_weights(2), RATE)
    # Mean 2, mean square 5: 1 - 4 / 5.
    torch.testing.assert_close(found[0].tolist(), [0.2, 1.0, 0.0], atol=1e-6, rtol=0)


def test_candidates_with_nothing_in_common():
    wave = torch.zeros(1, 4, 1, RATE)
    for n in range(4):
        wave[0, n, 0, n * RATE // 4 : (n + 1) * RATE // 4] = 1.0
    assert float(disagreement(wave, equal_weights(4), RATE)) == pytest.approx(0.75)


def test_weights_are_each_source_s_own():
    wave = torch.randn(1, 3, 1, RATE, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1)
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.25, 0.25]])
    found = disagreement(wave, weights, RATE)[:, 0]
    assert float(found[0]) == 0
    mean = (weights[1][:, None, None] * wave[1]).sum(0)
    energy = (weights[1] * wave[1].square().sum((1, 2))).sum()
    # float32 waves.
    assert float(found[1]) == pytest.approx(float(1 - mean.square().sum() / energy), abs=1e-5)


def test_windows():
    wave = torch.randn(2, 3, 1, 250, generator=torch.Generator().manual_seed(0))
    weights = equal_weights(3).repeat(2, 1)
    found = disagreement(wave, weights, RATE)
    assert found.shape == (2, 3) and ((found > 0) & (found < 1)).all()
    last = disagreement(wave[..., 200:], weights, RATE)
    torch.testing.assert_close(found[:, 2:], last)
    assert disagreement(wave, weights, RATE, window_s=0.1).shape == (2, 25)
    with pytest.raises(ValueError, match="less than a sample"):
        disagreement(wave, weights, RATE, window_s=0.001)
