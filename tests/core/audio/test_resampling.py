import math

import pytest
import torch

from lqsep.core.audio import resampling
from lqsep.core.audio.resampling import resample
from lqsep.core.errors import ShapeError

RATES = [
    (44_100, 22_050),
    (22_050, 44_100),
    (48_000, 22_050),
    (11_025, 48_000),
    (48_000, 11_025),
    (8000, 22_050),
    (44_100, 22_051),  # no common divisor: the other way of computing
    (7919, 8009),
]


def tone(hz, rate, n_samples):
    # A Hann envelope: nothing at the edges, where the wave would have to be guessed.
    time = torch.arange(n_samples, dtype=torch.float64)
    return (
        torch.sin(2 * torch.pi * hz * time / rate) * torch.sin(torch.pi * time / n_samples).square()
    )


@pytest.mark.parametrize(("old", "new"), RATES)
def test_a_tone_stays_the_same_tone(old, new):
    n_samples = old // 2
    hz = 0.3 * min(old, new)
    got = resample(tone(hz, old, n_samples), old, new)
    # the same function of time, sampled at the other rate
    time = torch.arange(got.shape[-1], dtype=torch.float64) / new
    envelope = torch.sin(torch.pi * time * old / n_samples).square()
    expected = torch.sin(2 * torch.pi * hz * time) * envelope
    # measured 1e-6: the window's attenuation (120 dB)
    assert (got - expected).abs().max() < 4e-6


@pytest.mark.parametrize(("old", "new"), [(old, new) for old, new in RATES if new < old])
def test_what_the_new_rate_cannot_hold_disappears(old, new):
    got = resample(tone(0.5 * new + 0.08 * new, old, old // 2), old, new)
    assert got.abs().max() < 1e-5


@pytest.mark.parametrize(("old", "new"), RATES)
@pytest.mark.parametrize("n_samples", [1, 2, 999, 4410])
def test_length(old, new, n_samples):
    wave = torch.randn(2, 3, n_samples)
    got = resample(wave, old, new)
    assert got.shape == (2, 3, math.ceil(n_samples * new / old))
    assert got.dtype == torch.float32
    back = resample(got, new, old, n_samples)
    assert back.shape == wave.shape
    for wanted in (1, got.shape[-1] + 5):
        assert resample(wave, old, new, wanted).shape == (2, 3, wanted)


@pytest.mark.slow
def test_length_of_long_waves():
    # single precision has no halves from 2^23 on
    assert resample(torch.zeros(2**24 + 1), 2, 1).shape == (2**23 + 1,)


def test_equal_rates_return_the_wave():
    wave = torch.randn(3, 100)
    assert torch.equal(resample(wave, 8000, 8000), wave)
    assert resample(wave, 8000, 8000, 90).shape == (3, 90)
    assert resample(wave, 8000, 8000, 110).shape == (3, 110)


@pytest.mark.parametrize(("old", "new"), [(44_100, 22_050), (11_025, 48_000), (48_000, 11_025)])
def test_both_ways_of_computing_agree(monkeypatch, old, new):
    wave = torch.randn(2, 3000, dtype=torch.float64)
    kept = resample(wave, old, new)
    monkeypatch.setattr(resampling, "_MAX_KERNEL", 0)
    # torchaudio evaluates its window's parameter in single precision
    assert (resample(wave, old, new) - kept).abs().max() < 4e-6


@pytest.mark.parametrize("rates", [(44_100, 22_050), (7_000, 3_000)])
def test_gradients_flow(rates):
    """Also through filters that were first made in inference mode."""
    with torch.inference_mode():
        resample(torch.randn(1, 500), *rates)
    wave = torch.randn(1, 500, requires_grad=True)
    resample(wave, *rates).square().sum().backward()
    assert wave.grad is not None and wave.grad.abs().sum() > 0


@pytest.mark.parametrize(("shape", "rates"), [((1, 0), (2, 1)), ((1, 5), (0, 1)), ((), (2, 1))])
def test_nothing_to_resample(shape, rates):
    with pytest.raises(ShapeError, match="expected at least one sample and positive rates"):
        resample(torch.zeros(shape), *rates)
