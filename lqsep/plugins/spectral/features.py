"""Log powers of sound, per bin of its spectrum and per band."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional as F

from lqsep.core.errors import ConfigError, ShapeError

# Frames transformed at a time: 17 MB of spectra per wave.
_BLOCK_FRAMES = 2048


class SpectralFeatures:
    """Short-time spectra in code frames, and their bands.

    Frame ``t`` is centred on ``(t + 1/2) * hop_length``, the middle of its samples; a wave has
    ``ceil(samples / hop_length)`` frames, with silence around it. Windows are Hann windows. Every
    bin below ``linear_hz`` is a band by itself; above, bands are of equal width in log frequency,
    of one bin at least. A band's power is the mean power of its bins.

    Args:
        sample_rate: Hz.
        n_fft: Samples in a window.
        hop_length: Samples per frame, at most half a window.
        n_bands: Bands in all.
        linear_hz: Where logarithmic bands begin.
        floor_db: The floor added to powers lies so far below white noise of RMS 1.
        device: Where window and bands live; waves are brought there.

    Attributes:
        floor: Power added to every band, ``bands``.
        n_bins: ``n_fft // 2 + 1``.

    Raises:
        ConfigError: Windows do not overlap, or there are too few or too many bands.

    Example:
        >>> features = SpectralFeatures(8000, n_fft=256, hop_length=64, n_bands=40)
        >>> features.log_bands(torch.zeros(1, 100)).shape
        torch.Size([1, 2, 40])
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        n_fft: int = 2048,
        hop_length: int = 512,
        n_bands: int = 96,
        linear_hz: float = 700.0,
        floor_db: float = 60.0,
        device: torch.device | str = "cpu",
    ) -> None:
        if not 0 < 2 * hop_length <= n_fft:
            raise ConfigError(
                f"spectral features: hop_length must be 1 to {n_fft // 2}, half of n_fft, got "
                f"{hop_length}."
            )
        self.sample_rate, self.n_fft, self.hop_length = sample_rate, n_fft, hop_length
        self.n_bands, self.linear_hz, self.floor_db = n_bands, linear_hz, floor_db
        self.n_bins = n_fft // 2 + 1
        self.window = torch.hann_window(n_fft, device=device)
        self.bin_floor = float(self.window.double().square().sum()) * 10 ** (-floor_db / 10)
        self.edges = _band_edges(self.n_bins, n_bands, linear_hz, sample_rate / n_fft)
        self.floor = torch.full((n_bands,), self.bin_floor, device=device)
        self._means = _band_means(self.edges).to(device)

    @property
    def silence(self) -> Float[Tensor, " bands"]:
        """Log powers of the bands of silence."""
        return self.floor.log()

    def settings(self) -> Float[Tensor, " settings"]:
        """All that the features depend on, float64, on the CPU."""
        values = [self.sample_rate, self.n_fft, self.hop_length, self.n_bands]
        return torch.tensor([*values, self.linear_hz, self.floor_db], dtype=torch.float64)

    def log_power(self, wave: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames bins"]:
        """Natural log of power plus floor, for every bin.

        Raises:
            ShapeError: No samples.
        """
        return (torch.cat(list(self._powers(wave)), 1) + self.bin_floor).log()

    def bands(self, power: Float[Tensor, "*rows bins"]) -> Float[Tensor, "*rows bands"]:
        """Mean power of every band's bins."""
        return power @ self._means.to(power)

    def spread(self, bands: Float[Tensor, "*rows bands"]) -> Float[Tensor, "*rows bins"]:
        """Every bin has the value of its band."""
        widths = [stop - start for start, stop in pairwise(self.edges)]
        return bands.repeat_interleave(torch.tensor(widths, device=bands.device), -1)

    def log_bands(
        self, wave: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch frames bands"]:
        """Natural log of power plus floor, for every band.

        Raises:
            ShapeError: No samples.
        """
        parts = [self.bands(power) for power in self._powers(wave)]
        return (torch.cat(parts, 1) + self.floor).log()

    def stft(self, wave: Float[Tensor, "batch samples"]) -> Complex[Tensor, "batch bins frames"]:
        """Complex spectra.

        Raises:
            ShapeError: No samples.
        """
        return torch.cat(list(self._spectra(wave)), 2)

    def istft(
        self, spectrum: Complex[Tensor, "batch bins frames"], n_samples: int
    ) -> Float[Tensor, "batch samples"]:
        """The waves whose `stft` is nearest, the inverse for spectra that are one.

        Reference: Griffin and Lim 1984, "Signal estimation from modified short-time Fourier
        transform", IEEE ASSP 32(2), equation 6.
        """
        frames = torch.fft.irfft(spectrum, n=self.n_fft, dim=1) * self.window[:, None]
        weight = self.window.square()[None, :, None].expand(1, -1, spectrum.shape[2])
        end = self._lead + n_samples
        wave, norm = (self._overlap_add(x)[:, self._lead : end] for x in (frames, weight))
        return wave / norm

    @property
    def _lead(self) -> int:
        """Silence before the wave, so that frame 0 is centred in its samples."""
        return (self.n_fft - self.hop_length) // 2

    def _powers(self, wave: Tensor) -> Iterator[Float[Tensor, "batch frames bins"]]:
        for spectrum in self._spectra(wave):
            yield spectrum.abs().square().transpose(1, 2)

    def _spectra(self, wave: Tensor) -> Iterator[Complex[Tensor, "batch bins frames"]]:
        """Spectra of consecutive frames, some megabytes at a time."""
        if wave.ndim != 2 or wave.shape[1] == 0:
            raise ShapeError(
                "spectra: expected waves (batch, samples) of one sample or more, got "
                f"{tuple(wave.shape)}."
            )
        n_frames = -(-wave.shape[1] // self.hop_length)
        left = self._lead
        total = (n_frames - 1) * self.hop_length + self.n_fft
        padded = F.pad(wave.to(self.window), (left, total - left - wave.shape[1]))
        for first in range(0, n_frames, _BLOCK_FRAMES):
            stop = min(first + _BLOCK_FRAMES, n_frames)
            end = (stop - 1) * self.hop_length + self.n_fft
            yield torch.stft(
                padded[:, first * self.hop_length : end],
                self.n_fft,
                self.hop_length,
                window=self.window,
                center=False,
                return_complex=True,
            )

    def _overlap_add(self, frames: Float[Tensor, "batch window frames"]) -> Tensor:
        """Sum of the frames, each a hop later than the one before."""
        n_hops = -(-self.n_fft // self.hop_length)
        batch, _, n_frames = frames.shape
        whole = F.pad(frames.transpose(1, 2), (0, n_hops * self.hop_length - self.n_fft))
        parts = whole.reshape(batch, n_frames, n_hops, self.hop_length)
        wave = frames.new_zeros(batch, n_frames + n_hops - 1, self.hop_length)
        for hop in range(n_hops):
            wave[:, hop : hop + n_frames] += parts[:, :, hop]
        return wave.flatten(1)


def _band_edges(n_bins: int, n_bands: int, linear_hz: float, bin_hz: float) -> list[int]:
    """First bin of every band, and the end of the last."""
    # Logarithmic bands need a positive frequency to start from.
    n_linear = max(1, sum(1 for k in range(n_bins) if k * bin_hz < linear_hz))
    n_above = n_bands - n_linear
    lowest, highest = n_linear + min(1, n_bins - n_linear), n_bins
    if not lowest <= n_bands <= highest:
        raise ConfigError(
            f"spectral features: {n_linear} bins of {bin_hz:.1f} Hz lie below {linear_hz:g} Hz and "
            f"{n_bins} in all, so expected n_bands of {lowest} to {highest}, got {n_bands}."
        )
    edges = list(range(n_linear))
    ratio = n_bins / n_linear
    for band in range(n_above + 1):
        # Rounding must leave a bin for this band and for each above it.
        wanted = round(n_linear * ratio ** (band / max(n_above, 1)))
        edges.append(min(max(wanted, edges[-1] + 1), n_bins - n_above + band))
    return edges


def _band_means(edges: list[int]) -> Float[Tensor, "bins bands"]:
    """The matrix that averages each band's bins."""
    means = torch.zeros(edges[-1], len(edges) - 1)
    for band, (start, stop) in enumerate(pairwise(edges)):
        means[start:stop, band] = 1 / (stop - start)
    return means
