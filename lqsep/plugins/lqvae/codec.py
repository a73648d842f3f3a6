"""The codec ``lq-vae``: the top level of an LQ-VAE behind the `Codec` interface."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from lqsep.core.corpus.audio_pool import mixture_scale
from lqsep.core.errors import CheckpointError, ShapeError
from lqsep.core.interfaces.codec import Codec, CodecInfo, source_index
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.store.weights import fingerprint, name_mismatch, shape_mismatch
from lqsep.plugins.lqvae.model import LQVAE

# Frames decoded at a time: those around them, decoded as well, are few in comparison.
_PIECE_FRAMES = 512

# Running averages and flags of the quantisers serve training only.
_TRAINING_ONLY = ("code_sum", "code_count", "initialised")


class LQVAECodec(Codec):
    """Codes and decodes at the top level; one codebook for all sources.

    Args:
        model: Trained networks; put into evaluation mode.
        sample_rate: Hz.
        level: RMS to which `analyse` brings the mixture; None leaves it as it is.

    Example:
        >>> model = LQVAE(embedding_dim=4, codebook_size=8, width=4, depth=1)
        >>> codec = LQVAECodec(model, sample_rate=8000)
        >>> codes = codec.encode(torch.zeros(1, 1, 100))  # hop 64
        >>> codes.shape, codec.decode(codes, n_samples=100).shape
        (torch.Size([1, 2]), torch.Size([1, 1, 100]))
    """

    def __init__(self, model: LQVAE, *, sample_rate: int, level: float | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self._top = model.levels - 1
        self.info = CodecInfo(
            sample_rate=sample_rate,
            channels=1,
            hop_length=model.hop_lengths[self._top],
            embedding_dim=model.embedding_dim,
            level=level,
        )
        self.fingerprint = fingerprint(inference_tensors(model))

    def codebook_size(self, source: int) -> int:
        source_index(source)
        return self.model.codebook_size

    @torch.no_grad()
    def analyse(self, wave: Float[Tensor, "batch channels samples"]) -> EncodedMixture:
        if wave.shape[0] != 1:
            raise ShapeError(
                f"lq-vae analysis: expected one segment (1, 1, samples), got {tuple(wave.shape)}."
            )
        scale = mixture_scale(wave, self.info.level)
        latents = self._latents(wave * scale)
        return EncodedMixture(
            wave=wave[0],
            latents=latents[0].movedim(0, 1),
            codes=self.model.quantizer(self._top).encode(latents)[0],
            scale=scale,
        )

    @torch.no_grad()
    def encode(
        self, wave: Float[Tensor, "batch channels samples"], source: int | None = None
    ) -> Int64[Tensor, "batch frames"]:
        return self.model.quantizer(self._top).encode(self._latents(wave))

    def embed(
        self, codes: Int64[Tensor, "batch frames"], source: int | None = None
    ) -> Float[Tensor, "batch frames embedding_dim"]:
        return self.model.codebook(self._top)[codes]

    @torch.no_grad()
    def decode(
        self,
        codes: Int64[Tensor, "batch frames"],
        n_samples: int,
        source: int | None = None,
        mixture: Float[Tensor, "channels samples"] | None = None,
    ) -> Float[Tensor, "batch channels samples"]:
        """Sound of the codes, cut to ``n_samples``.

        Raises:
            ShapeError: ``n_samples`` is not within the last frame.
        """
        hop, frames = self.info.hop_length, codes.shape[1]
        if -(-n_samples // hop) != frames:
            raise ShapeError(
                f"lq-vae decoding: {frames} frames of {hop} samples cannot give {n_samples} "
                f"samples; expected {max(frames - 1, 0) * hop + 1} to {frames * hop}."
            )
        return self._decoded(codes)[:, :, :n_samples]

    def _decoded(self, codes: Int64[Tensor, "batch frames"]) -> Tensor:
        """Whole frames of sound.

        On CPUs they are made row by row and piece by piece: what the convolutions pass on stays in
        the cache, and its memory does not grow with the length. Sums of more or fewer frames at a
        time are rounded otherwise, by some 3e-7.
        """
        reach = self.model.decoder_reach(self._top)
        piece = max(_PIECE_FRAMES, 4 * reach)
        n_frames, hop = codes.shape[1], self.info.hop_length
        if codes.device.type != "cpu" or (len(codes) == 1 and n_frames <= piece):
            return self.model.decode(codes, self._top)
        result = self.model.codebook(self._top).new_empty(len(codes), 1, n_frames * hop)
        for row, wave in zip(codes, result, strict=True):
            for start in range(0, n_frames, piece):
                stop = min(start + piece, n_frames)
                first = max(0, start - reach)
                part = self.model.decode(row[None, first : stop + reach], self._top)[0]
                wave[:, start * hop : stop * hop] = part[
                    :, (start - first) * hop : (stop - first) * hop
                ]
        return result

    def _latents(self, wave: Tensor) -> Tensor:
        """Latents of a wave padded with zeros to whole frames."""
        if wave.ndim != 3 or wave.shape[1] != 1 or wave.shape[2] == 0:
            raise ShapeError(
                "lq-vae encoding: expected mono waves (batch, 1, samples) of one sample or more, "
                f"got {tuple(wave.shape)}."
            )
        padded = F.pad(wave, (0, -wave.shape[2] % self.info.hop_length))
        codebook = self.model.codebook(self._top)
        return self.model.encode_latents(padded.to(codebook), self._top)


def inference_tensors(model: LQVAE) -> dict[str, Tensor]:
    """The tensors that coding and decoding need: what is stored and fingerprinted."""
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.rpartition(".")[2] not in _TRAINING_ONLY
    }


def check_inference_tensors(model: LQVAE, tensors: Mapping[str, Tensor]) -> None:
    """Refuse stored tensors that a model has no place for.

    Raises:
        CheckpointError: Names, shapes or kinds differ.
    """
    expected = inference_tensors(model)
    mismatch = name_mismatch(expected, tensors) or shape_mismatch(expected, tensors)
    if mismatch is not None:
        raise CheckpointError(f"{mismatch}. Check the codec's sizes in the configuration.")


def load_inference_tensors(model: LQVAE, tensors: Mapping[str, Tensor]) -> None:
    """Copy stored tensors into a model; the quantisers' averages start from the entries.

    Raises:
        CheckpointError: Names or shapes differ.
    """
    check_inference_tensors(model, tensors)
    model.load_state_dict(dict(tensors), strict=False)
    for level in range(model.levels):
        quantizer = model.quantizer(level)
        quantizer.restart_counts(quantizer.initial_count)
        quantizer.initialised.fill_(True)
