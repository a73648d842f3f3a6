import pytest
import torch

from lqsep.core.signal.masks import interpolate, istft, soft_masks, stft, window_length


@pytest.mark.parametrize("window", [64, 2048])
@pytest.mark.parametrize("n_samples", [1, 63, 5000])
def test_transform_is_inverted(window, n_samples):
    wave = torch.randn(2, 3, n_samples)
    spectrum = stft(wave, window)
    assert spectrum.shape == (2, 3, window // 2 + 1, 1 + n_samples // (window // 4))
    # float32 rounding of transforms
    assert torch.allclose(istft(spectrum, n_samples), wave, atol=1e-5)


def test_window_length():
    assert [window_length(rate) for rate in (22_050, 44_100, 11_025)] == [2048, 4096, 1024]
    assert window_length(100) == 64
    for rate in (8000, 16_000, 48_000):
        assert window_length(rate) % 64 == 0
        assert window_length(rate) / rate == pytest.approx(2048 / 22_050, rel=0.05)


def test_soft_masks():
    powers = torch.tensor([[[4.0, 0.0, 0.0]], [[1.0, 3.0, 0.0]]])
    expected = torch.tensor([[0.8, 0.0, 0.5], [0.2, 1.0, 0.5]])
    # the floor is 1e-12 of the loudest
    assert torch.allclose(soft_masks(powers)[:, 0], expected, atol=1e-6)
    assert soft_masks(powers, 1.0)[:, 0, 0].tolist() == pytest.approx([2 / 3, 1 / 3])
    # scale does not matter
    assert torch.allclose(soft_masks(1e-20 * powers), soft_masks(powers))
    assert soft_masks(0 * powers).unique().tolist() == [0.5]


def test_interpolate():
    values = torch.tensor([[0.0, 1.0, 5.0], [2.0, 2.0, 2.0]])
    position = torch.tensor([-1.0, 0.0, 0.25, 1.5, 2.0, 9.0])
    found = interpolate(values, position, 1)
    assert found.tolist() == [[0, 0, 0.25, 3, 5, 5], [2] * 6]
    assert interpolate(values, torch.tensor([0.5]), 0).tolist() == [[1, 1.5, 3.5]]
