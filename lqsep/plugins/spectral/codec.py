"""The codec ``spectral-vq``: nearest codes of log-band spectra, one codebook per source."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

from lqsep.core.corpus.audio_pool import mixture_scale
from lqsep.core.errors import IncompatibleComponentsError, ShapeError
from lqsep.core.interfaces.codec import Codec, CodecInfo, source_index
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.signal.nearest_codes import nearest_codes
from lqsep.core.store.weights import fingerprint
from lqsep.plugins.spectral.book import SpectralBook
from lqsep.plugins.spectral.features import SpectralFeatures

# Sequences decoded at a time: their spectra take many times the memory of their waves.
_ROWS = 2

# Rounds of Griffin-Lim where no mixture lends its phase; more change little.
_PHASE_ROUNDS = 32


class SpectralCodec(Codec):
    """Codes and decodes log spectra; the latents of a mixture are its bands' log powers.

    Sounds of sources do not add up in this space, so that a mixture has no codes.

    Args:
        features: Of the spectra.
        books: What the codes of each source stand for, on the device of the features.
        level: RMS to which `analyse` brings the mixture; None leaves it as it is.
    """

    def __init__(
        self,
        features: SpectralFeatures,
        books: Sequence[SpectralBook],
        *,
        level: float | None = None,
    ) -> None:
        self.features = features
        self.books = tuple(books)
        self.info = CodecInfo(
            sample_rate=features.sample_rate,
            channels=1,
            hop_length=features.hop_length,
            embedding_dim=features.n_bands,
            level=level,
            takes_whole_inputs=True,
        )
        self.fingerprint = fingerprint(codec_tensors(features, books))

    def codebook_size(self, source: int) -> int:
        return self._book(source).size

    def analyse(self, wave: Float[Tensor, "batch channels samples"]) -> EncodedMixture:
        mono = self._mono(wave)
        if mono.shape[0] != 1:
            raise ShapeError(
                "spectral-vq analysis: expected one segment (1, 1, samples), got "
                f"{tuple(wave.shape)}."
            )
        scale = mixture_scale(mono, self.info.level)
        return EncodedMixture(
            wave=wave[0],
            latents=self.features.log_bands(mono * scale)[0],
            codes=None,
            scale=scale,
        )

    def encode(
        self, wave: Float[Tensor, "batch channels samples"], source: int | None = None
    ) -> Int64[Tensor, "batch frames"]:
        bands = self.features.log_bands(self._mono(wave))
        means = self._book(source).mean
        return nearest_codes(bands.flatten(0, 1), means)[0].view(bands.shape[:2])

    def embed(
        self, codes: Int64[Tensor, "batch frames"], source: int | None = None
    ) -> Float[Tensor, "batch frames embedding_dim"]:
        return self._book(source).mean[codes]

    def decode(
        self,
        codes: Int64[Tensor, "batch frames"],
        n_samples: int,
        source: int | None = None,
        mixture: Float[Tensor, "channels samples"] | None = None,
    ) -> Float[Tensor, "batch channels samples"]:
        """Sound with the codes' powers and the mixture's phase, or one that fits the powers.

        Raises:
            ShapeError: ``n_samples`` is not within the last frame or not the mixture's length.
            IncompatibleComponentsError: No source is named.

        Reference: Griffin and Lim 1984, "Signal estimation from modified short-time Fourier
        transform", IEEE ASSP 32(2), section III (the phase without a mixture).
        """
        hop, frames = self.info.hop_length, codes.shape[1]
        if -(-n_samples // hop) != frames:
            raise ShapeError(
                f"spectral-vq decoding: {frames} frames of {hop} samples cannot give {n_samples} "
                f"samples; expected {max(frames - 1, 0) * hop + 1} to {frames * hop}."
            )
        if mixture is not None and mixture.shape != (1, n_samples):
            raise ShapeError(
                f"spectral-vq decoding: expected a mixture (1, {n_samples}), got "
                f"{tuple(mixture.shape)}."
            )
        power = self._book(source).log_power.exp() - self.features.bin_floor
        magnitudes = power.clamp(min=0).sqrt()
        phase = None if mixture is None else _phase(self.features.stft(mixture))
        waves = []
        for rows in torch.split(codes, _ROWS):
            magnitude = magnitudes[rows].transpose(1, 2)
            if phase is None:
                waves.append(self._with_fitting_phase(magnitude, n_samples))
            else:
                waves.append(self.features.istft(magnitude * phase, n_samples))
        return torch.cat(waves)[:, None]

    def wave_power(self, wave: Float[Tensor, "channels samples"]) -> Float[Tensor, "bins frames"]:
        return self.features.log_power(self._mono(wave[None])).exp()[0].T

    def _with_fitting_phase(
        self, magnitude: Float[Tensor, "batch bins frames"], n_samples: int
    ) -> Float[Tensor, "batch samples"]:
        # The same start for every row and call: decoding stays a function of the codes.
        generator = torch.Generator().manual_seed(0)
        angle = torch.rand((1, *magnitude.shape[1:]), generator=generator) * (2 * torch.pi)
        phase = torch.polar(torch.ones_like(angle), angle).to(magnitude.device)
        for _ in range(_PHASE_ROUNDS):
            wave = self.features.istft(magnitude * phase, n_samples)
            phase = _phase(self.features.stft(wave))
        return self.features.istft(magnitude * phase, n_samples)

    def _book(self, source: int | None) -> SpectralBook:
        if source is None:
            raise IncompatibleComponentsError(
                "spectral-vq has a codebook per source and none for mixtures: name the source "
                f"(0 to {len(self.books) - 1}), or use likelihood 'log-sum', which needs none"
            )
        return self.books[source_index(source, len(self.books))]

    def _mono(self, wave: Tensor) -> Float[Tensor, "batch samples"]:
        if wave.ndim != 3 or wave.shape[1] != 1 or wave.shape[2] == 0:
            raise ShapeError(
                "spectral-vq encoding: expected mono waves (batch, 1, samples) of one sample or "
                f"more, got {tuple(wave.shape)}."
            )
        return wave[:, 0]


def codec_tensors(features: SpectralFeatures, books: Sequence[SpectralBook]) -> dict[str, Tensor]:
    """All that a codec is made of, by the names of its file."""
    tensors = {"features": features.settings()}
    for source, book in enumerate(books):
        tensors |= {f"{source}.{name}": tensor for name, tensor in book.tensors().items()}
    return tensors


def _phase(spectrum: Complex[Tensor, "*rows frames"]) -> Complex[Tensor, "*rows frames"]:
    """Of magnitude 1 everywhere, 1 where there is nothing."""
    magnitude = spectrum.abs()
    return torch.where(magnitude > 0, spectrum / magnitude.clamp(min=1e-30), 1.0)
