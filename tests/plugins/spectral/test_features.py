"""Log powers of sound: frames, bands, floor, and back."""

import math

import pytest
import torch
from torch import Tensor

from lqsep.core.errors import ConfigError, ShapeError
from lqsep.plugins.spectral.features import SpectralFeatures


def small(**changes: float) -> SpectralFeatures:
    settings = {"n_fft": 256, "hop_length": 64, "n_bands": 40, **changes}
    return SpectralFeatures(8000, **settings)  # type: ignore[arg-type]


def noise(n_samples: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(n_samples)
    return torch.randn((batch, n_samples), generator=generator)


def test_the_published_bands() -> None:
    features = SpectralFeatures(22050)
    # 22,050 / 2048 = 10.77 Hz per bin: bins 0 to 65 lie below 700 Hz.
    assert features.edges[:67] == list(range(67))
    assert len(features.edges) == 97 and features.edges[-1] == features.n_bins == 1025
    widths = [b - a for a, b in zip(features.edges, features.edges[1:], strict=False)]
    assert widths[66] > 1 and max(widths) == widths[-1]
    # Equal in log frequency, but for rounding to bins (at most half a bin of six at each end).
    ratios = [b / a for a, b in zip(features.edges[66:], features.edges[67:], strict=False)]
    expected = (1025 / 66) ** (1 / 30)
    assert all(abs(ratio / expected - 1) < 0.02 for ratio in ratios)


@pytest.mark.parametrize("n_bands", [24, 40, 80, 128, 129])
def test_every_bin_is_in_one_band(n_bands: int) -> None:
    features = small(n_bands=n_bands)
    widths = [b - a for a, b in zip(features.edges, features.edges[1:], strict=False)]
    assert len(widths) == n_bands and min(widths) >= 1 and sum(widths) == 129
    power = torch.rand(3, 129, generator=torch.Generator().manual_seed(0))
    bands = features.bands(power)
    expected = torch.stack([part.mean(1) for part in power.split(widths, 1)], 1)
    torch.testing.assert_close(bands, expected)
    assert torch.equal(features.bands(features.spread(bands)).argsort(1), bands.argsort(1))


@pytest.mark.parametrize("n_bands", [23, 130])
def test_bands_that_do_not_fit(n_bands: int) -> None:
    with pytest.raises(ConfigError, match="expected n_bands of 24 to 129"):
        small(n_bands=n_bands)


@pytest.mark.parametrize("hop_length", [0, 129])
def test_windows_must_overlap(hop_length: int) -> None:
    with pytest.raises(ConfigError, match="hop_length must be 1 to 128"):
        small(hop_length=hop_length)


@pytest.mark.parametrize("n_samples", [1, 63, 64, 65, 500])
def test_frames(n_samples: int) -> None:
    features = small()
    n_frames = math.ceil(n_samples / 64)
    wave = noise(n_samples, 2)
    assert features.log_power(wave).shape == (2, n_frames, 129)
    assert features.log_bands(wave).shape == (2, n_frames, 40)


@pytest.mark.parametrize("position", [3 * 64 + 32, 5 * 64 + 32])
def test_a_click_is_loudest_in_the_frame_centred_on_it(position: int) -> None:
    wave = torch.zeros(1, 640)
    wave[0, position] = 1
    power = small().log_power(wave)[0].sum(1)
    assert int(power.argmax()) == position // 64
    # The window is symmetric about the middle of the frame.
    torch.testing.assert_close(power[position // 64 - 1], power[position // 64 + 1])


def test_the_floor_is_that_far_below_white_noise() -> None:
    features = small(floor_db=40.0)
    power = features.stft(noise(64_000)).abs().square().mean()
    # 1000 overlapping frames of 129 bins: the mean is known to about 1 % (0.05 dB).
    assert float(10 * (power / features.floor[0]).log10()) == pytest.approx(40.0, abs=0.2)
    assert torch.equal(features.floor, torch.full((40,), features.bin_floor))
    silence = features.log_bands(torch.zeros(1, 300))[0]
    torch.testing.assert_close(silence, features.silence.expand(5, 40))


def test_bands_of_powers_with_their_floor_are_log_bands() -> None:
    features, wave = small(), 0.01 * noise(500)
    expected = features.log_bands(wave)
    torch.testing.assert_close(features.bands(features.log_power(wave).exp()).log(), expected)


@pytest.mark.parametrize("n_samples", [1, 64, 65, 500])
@pytest.mark.parametrize("hop_length", [64, 100, 128])
def test_spectra_give_the_wave_back(n_samples: int, hop_length: int) -> None:
    features, wave = small(hop_length=hop_length), noise(n_samples, 2)
    back = features.istft(features.stft(wave), n_samples)
    # Squared windows are as small as 0.1 where half a window is hopped: float32 within 1e-5.
    torch.testing.assert_close(back, wave, rtol=0, atol=1e-5)


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ShapeError, match="one sample or more"):
        small().log_bands(torch.zeros(1, 0))


def test_settings_tell_features_apart() -> None:
    changes = ({"n_fft": 240}, {"hop_length": 32}, {"n_bands": 41}, {"linear_hz": 600.0})
    others = [small(**change).settings() for change in (*changes, {"floor_db": 50.0})]
    assert not any(torch.equal(small().settings(), other) for other in others)
    assert torch.equal(small().settings(), small().settings())
