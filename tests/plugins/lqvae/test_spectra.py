"""Spectral distances against numbers recorded from the reference, and on known signals.

Tolerance of the recorded values: float32 transforms and sums over 10^4 bins, relative 1e-5.
"""

import math

import jaxtyping
import pytest
import torch

from lqsep.core.errors import ConfigError, ShapeError
from lqsep.plugins.lqvae.spectra import (
    MULTI_SIZES,
    StftSize,
    magnitude_distance,
    multi_magnitude_distance,
    multi_magnitudes,
    stft_magnitude,
)

# With run-time checks of annotations on, a tensor of the wrong rank fails there already.
WRONG_SHAPE = (ShapeError, jaxtyping.TypeCheckError)


@pytest.fixture
def recorded(golden):
    return {name: torch.from_numpy(array) for name, array in golden.npz("audio_utils").items()}


def test_spectrogram_matches_the_reference(recorded):
    magnitude = stft_magnitude(recorded["x_in"])
    assert list(magnitude.shape) == recorded["spec_default_shape"].tolist()
    expected = recorded["spec_default_x_in0"]
    torch.testing.assert_close(magnitude[0], expected, rtol=1e-5, atol=5e-5)


def test_distances_match_the_reference(recorded):
    target, estimate = recorded["x_in"], recorded["x_out"]
    single = magnitude_distance(stft_magnitude(target), stft_magnitude(estimate))
    torch.testing.assert_close(single, recorded["spectral_loss"], rtol=1e-5, atol=1e-7)
    several = multi_magnitude_distance(multi_magnitudes(target), multi_magnitudes(estimate))
    torch.testing.assert_close(several, recorded["multispectral_loss"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("index", range(3))
def test_each_resolution_matches_the_reference(recorded, index):
    target, estimate = (stft_magnitude(recorded[w], MULTI_SIZES[index]) for w in ("x_in", "x_out"))
    ours = magnitude_distance(target, estimate)
    torch.testing.assert_close(ours, recorded[f"multispec_{index}"], rtol=1e-5, atol=1e-7)


def test_a_sine_peaks_in_its_bin():
    size = StftSize(64, 16, 64)
    wave = torch.sin(2 * math.pi * 8 / 64 * torch.arange(256.0)).unsqueeze(0)
    magnitude = stft_magnitude(wave, size)
    assert magnitude.shape == (1, 33, 17)
    inner = magnitude[0, :, 4:-4]
    assert (inner.argmax(dim=0) == 8).all()
    # half the sum of a Hann window of 64 is 16
    torch.testing.assert_close(inner[8], torch.full((9,), 16.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(1024,), (1, 1024), (1, 1, 4096)])
def test_waves_that_do_not_fit_are_refused(shape):
    with pytest.raises(WRONG_SHAPE):
        stft_magnitude(torch.zeros(shape))


@pytest.mark.parametrize("sizes", [(64, 0, 64), (64, 16, 65), (64, 16, 0)])
def test_wrong_sizes_are_refused(sizes):
    with pytest.raises(ConfigError):
        StftSize(*sizes)
