"""Magnitude spectra and distances between them.

Conventions: waves are ``batch samples``; a short-time Fourier transform is centred with reflected
edges, uses a periodic Hann window and is not normalised; spectra are magnitudes of the one-sided
transform. Distances compare a ``target`` with an ``estimate``, in this order, and give one value
per item of the batch.

References: Dhariwal et al. 2020 (Jukebox), arXiv:2005.00341, section 3.2 (spectral loss); Yamamoto
et al. 2020 (Parallel WaveGAN), arXiv:1910.11480, section 2.2 (multi-resolution sizes).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class StftSize:
    """Sizes of a short-time Fourier transform, in samples."""

    n_fft: int
    hop_length: int
    window_length: int

    def __post_init__(self) -> None:
        if not 0 < self.hop_length or not 0 < self.window_length <= self.n_fft:
            raise ConfigError(
                "stft: hop_length must be positive and window_length in [1, n_fft], got "
                f"{self.hop_length} and {self.window_length} with n_fft {self.n_fft}."
            )


DEFAULT_SIZE = StftSize(2048, 256, 1536)
MULTI_SIZES = (StftSize(2048, 240, 1200), StftSize(1024, 120, 600), StftSize(512, 50, 240))


def stft_magnitude(
    wave: Float[Tensor, "batch samples"], size: StftSize = DEFAULT_SIZE
) -> Float[Tensor, "batch bins stft_frames"]:
    """Magnitude spectrogram.

    Raises:
        ShapeError: The wave is too short to be reflected at its edges (``n_fft // 2`` samples).
    """
    if wave.ndim != 2 or wave.shape[1] <= size.n_fft // 2:
        raise ShapeError(
            f"stft: expected a wave (batch, samples) of more than {size.n_fft // 2} samples for "
            f"n_fft {size.n_fft}, got {tuple(wave.shape)}."
        )
    window = torch.hann_window(size.window_length, device=wave.device, dtype=wave.dtype)
    spectrum = torch.stft(
        wave,
        size.n_fft,
        hop_length=size.hop_length,
        win_length=size.window_length,
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return spectrum.abs()


def multi_magnitudes(wave: Float[Tensor, "batch samples"]) -> list[Tensor]:
    """Magnitude spectrograms at the several sizes, one after the other."""
    return [stft_magnitude(wave, size) for size in MULTI_SIZES]


def magnitude_distance(
    target: Float[Tensor, "batch bins stft_frames"],
    estimate: Float[Tensor, "batch bins stft_frames"],
) -> Float[Tensor, " batch"]:
    """Frobenius norm of the difference; its gradient at equality is 0."""
    return cast(Tensor, torch.linalg.vector_norm(target - estimate, dim=(1, 2)))


def multi_magnitude_distance(
    target: Sequence[Tensor], estimate: Sequence[Tensor]
) -> Float[Tensor, " batch"]:
    """Mean of :func:`magnitude_distance` over the sizes of :func:`multi_magnitudes`."""
    distances = [magnitude_distance(a, b) for a, b in zip(target, estimate, strict=True)]
    return torch.stack(distances).mean(dim=0)
