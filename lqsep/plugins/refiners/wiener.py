"""Soft masks on the mixture's spectrum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from lqsep.core.interfaces.refiner import RefineContext, Refiner
from lqsep.core.signal.masks import (
    DEFAULT_WINDOW_S,
    interpolate,
    istft,
    soft_masks,
    stft,
    window_length,
)
from lqsep.plugins.refiners.code_powers import code_spectra, fitted
from lqsep.plugins.refiners.spatial_filter import first_of_two

# Share of the codec's band that says something of the sources: what lies above it went into the
# roll-off of resampling filters, so that the powers there are rounding and floors.
_TRUSTED = 0.95


@dataclass(frozen=True)
class _Shares:
    """Masks on a grid of evenly spaced bins (0 Hz to ``nyquist_hz``) and frames."""

    mask: Float[Tensor, "sources bins frames"]
    nyquist_hz: float
    first_s: float
    hop_s: float


class WienerRefiner(Refiner):
    """Gives each source its share of the mixture, per time and frequency.

    A source's power is that of its decoded candidates, times its gain, averaged with the
    selection's weights. Where codes stand for power spectra (`BoundLikelihood.source_power`), it is
    that of its codes as the likelihood was adapted, fitted to the mixture, see `code_powers`. From
    the powers ``p`` the mask of source ``s`` is ``p_s^(e/2) / sum_t p_t^(e/2)``. It is made at the
    codec's rate and carried over to the mixture's spectrum by linear interpolation in Hz and
    seconds. Above 95 % of the codec's Nyquist frequency it repeats the mean over the octave below
    that. The masks sum to one, thus the stems to the mixture.

    With several channels, two sources are told apart by where they come from too, see
    `spatial_filter`. Otherwise all channels share the masks, and the phase is the mixture's.

    The stems given are not used, but for their shape: they are the same decoded waves.

    Args:
        exponent: ``e``; 2 is the Wiener filter.
        window_s: Seconds in a window of the transforms, 93 ms by default; the hop is a quarter.
        rounds: How often the spectra of a codec's codes are fitted to the mixture; 0: not at all.
        spatial: Whether directions are used.

    Reference: Liutkus and Badeau 2015, "Generalized Wiener filtering with fractional power
    spectrograms", ICASSP, equation 6.
    """

    needs_stems = False

    def __init__(
        self,
        *,
        exponent: float = 2.0,
        window_s: float = DEFAULT_WINDOW_S,
        rounds: int = 16,
        spatial: bool = True,
    ) -> None:
        self._exponent = exponent
        self._window_s = window_s
        self._rounds = rounds
        self._spatial = spatial

    def refine(
        self, stems: Float[Tensor, "sources channels samples"], context: RefineContext
    ) -> Float[Tensor, "sources channels samples"]:
        mixture = context.mixture
        spectrum = stft(mixture.wave, self._window(mixture.sample_rate))
        share = self._shares(context)
        mask = self._on_the_mixture(share, context, spectrum.shape[1:])
        # One source at a time: spectra take several times the memory of the stems.
        parts = [
            istft(own, stems.shape[-1]).to(stems.dtype) for own in self._spectra(spectrum, mask)
        ]
        return torch.stack(parts)

    def _spectra(
        self,
        spectrum: Complex[Tensor, "channels bins frames"],
        mask: Float[Tensor, "sources bins frames"],
    ) -> Iterator[Complex[Tensor, "channels bins frames"]]:
        """One source after the other."""
        if self._spatial and len(mask) == 2 and len(spectrum) > 1:
            first = first_of_two(spectrum, mask)
            yield first
            yield spectrum - first
        else:
            yield from (own * spectrum for own in mask)

    def _window(self, sample_rate: int) -> int:
        return window_length(sample_rate, self._window_s)

    def _shares(self, context: RefineContext) -> _Shares:
        """Masks on the grid of the codec."""
        rate = context.codec.info.sample_rate
        powers = _codec_powers(context, self._rounds)
        if powers is not None:
            hop_s = context.codec.info.hop_length / rate
            first_s = hop_s / 2
        else:
            window = self._window(rate)
            powers = _wave_powers(context, window)
            hop_s, first_s = window / 4 / rate, 0.0
        return _Shares(soft_masks(powers, self._exponent), rate / 2, first_s, hop_s)

    def _on_the_mixture(
        self, shares: _Shares, context: RefineContext, grid: torch.Size
    ) -> Float[Tensor, "sources bins frames"]:
        """Masks on the grid of the mixture's spectrum, ``bins frames``."""
        rate = context.mixture.sample_rate
        device = shares.mask.device
        hz = torch.linspace(0, rate / 2, grid[0], dtype=torch.float64, device=device)
        hop_s = self._window(rate) / 4 / rate
        time = torch.arange(grid[1], dtype=torch.float64, device=device) * hop_s
        n_bins = shares.mask.shape[1]
        mask = interpolate(shares.mask, hz / shares.nyquist_hz * (n_bins - 1), 1)
        last = max(n_bins // 2 + 1, round(_TRUSTED * n_bins))
        top = shares.mask[:, n_bins // 2 : last].mean(1, keepdim=True)
        mask = torch.where((hz > _TRUSTED * shares.nyquist_hz)[:, None], top, mask)
        return interpolate(mask, (time - shares.first_s) / shares.hop_s, 2)


def _wave_powers(context: RefineContext, window: int) -> Float[Tensor, "sources bins frames"]:
    """Mean over the candidates that have weight, one after the other, times the gain squared."""
    waves = context.decoded.waves
    averages = []
    for source, weights in enumerate(context.selection.weights.tolist()):
        terms = (
            weight * stft(waves[source, candidate], window).abs().square().mean(0)
            for candidate, weight in enumerate(weights)
            if weight > 0
        )
        total = next(terms)
        for term in terms:
            total += term
        averages.append(total * context.gains[source] ** 2)
    return torch.stack(averages)


def _codec_powers(
    context: RefineContext, rounds: int
) -> Float[Tensor, "sources bins frames"] | None:
    spectra = code_spectra(context)
    if spectra is None:
        return None
    observed = context.codec.wave_power(context.decoded.mixture * context.encoded.scale)
    if observed is not None:
        spectra = fitted(spectra, observed.T, rounds)
    return torch.stack([part.expected().T for part in spectra])
