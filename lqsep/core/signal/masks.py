"""Soft masks on a short-time Fourier transform that works for waves of any length."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

DEFAULT_WINDOW_S = 2048 / 22_050
"""93 ms: slightly the best window for masks of music, among powers of two at 22,050 Hz."""

# Window lengths are multiples of this: even, with a hop of a quarter, and quick to transform.
_WINDOW_STEP = 64

# Added to every source's share, relative to the loudest: where all powers vanish (120 dB below,
# at exponent 2) the masks tend to equal parts.
_FLOOR = 1e-12


def window_length(sample_rate: int, window_s: float = DEFAULT_WINDOW_S) -> int:
    """Samples in a window of about so many seconds, always a multiple of 64."""
    return _WINDOW_STEP * max(1, round(window_s * sample_rate / _WINDOW_STEP))


def stft(wave: Float[Tensor, "*rows samples"], window: int) -> Complex[Tensor, "*rows bins frames"]:
    """Complex spectrum with a Hann window and a hop of a quarter, frame 0 centred on sample 0.

    Silence is added on both sides, so that one sample is enough.
    """
    spectrum = torch.stft(
        wave.reshape(-1, wave.shape[-1]),
        window,
        window // 4,
        window=torch.hann_window(window, dtype=wave.dtype, device=wave.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.view(*wave.shape[:-1], *spectrum.shape[1:])


def istft(
    spectrum: Complex[Tensor, "*rows bins frames"], n_samples: int
) -> Float[Tensor, "*rows samples"]:
    """Inverse of `stft`, exactly ``n_samples`` long."""
    window = 2 * (spectrum.shape[-2] - 1)
    wave = torch.istft(
        spectrum.reshape(-1, *spectrum.shape[-2:]),
        window,
        window // 4,
        window=torch.hann_window(window, dtype=spectrum.real.dtype, device=spectrum.device),
        center=True,
        length=n_samples,
    )
    return wave.view(*spectrum.shape[:-2], n_samples)


def soft_masks(
    powers: Float[Tensor, "sources *rows bins frames"], exponent: float = 2.0
) -> Float[Tensor, "sources *rows bins frames"]:
    """Shares ``p_s^(exponent/2) / sum_t p_t^(exponent/2)``; they sum to one everywhere.

    Where nothing has power, every source has the same share.

    Reference: Liutkus and Badeau 2015, "Generalized Wiener filtering with fractional power
    spectrograms", ICASSP, equation 6.
    """
    loudest = powers.max()
    relative = powers / loudest if loudest > 0 else powers
    scaled = relative ** (exponent / 2) + _FLOOR
    return scaled / scaled.sum(0)


def interpolate(values: Tensor, position: Float[Tensor, " points"], axis: int) -> Tensor:
    """Values at fractional indices along an axis, linear; beyond the ends they stay constant."""
    last = values.shape[axis] - 1
    position = position.clamp(0, last)
    lower = position.floor().long()
    upper = (lower + 1).clamp(max=last)
    shape = [1] * values.ndim
    shape[axis] = -1
    fraction = (position - lower).to(values.dtype).view(shape)
    return torch.lerp(values.index_select(axis, lower), values.index_select(axis, upper), fraction)
