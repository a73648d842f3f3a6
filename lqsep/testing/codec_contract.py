"""What every codec must fulfil."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lqsep.core.errors import IncompatibleComponentsError, ShapeError
from lqsep.core.interfaces.codec import Codec
from lqsep.testing.comparing import assert_close, assert_raises


class CodecContract:
    """A codec: lengths for every remainder, ranges of codes, repeatable results."""

    n_sources = 2
    n_residues = 64
    """How many remainders of ``samples % hop_length`` are tried at most."""

    @abstractmethod
    def make(self) -> Codec:
        """The codec to check."""

    def wave(self, codec: Codec, n_samples: int, batch: int = 1) -> Tensor:
        """Noise; override for a codec that refuses it."""
        generator = torch.Generator().manual_seed(n_samples)
        shape = (batch, codec.info.channels, n_samples)
        return (torch.rand(shape, generator=generator) - 0.5).to(device_of(codec))

    def lengths(self, codec: Codec) -> list[int]:
        """One sample, and two hops plus every remainder."""
        hop = codec.info.hop_length
        step = max(1, math.ceil(hop / self.n_residues))
        residues = sorted({*range(0, hop, step), min(1, hop - 1), hop - 1})
        return [1, *(2 * hop + residue for residue in residues)]

    def test_info(self) -> None:
        codec = self.make()
        info = codec.info
        assert min(info.sample_rate, info.channels, info.hop_length, info.embedding_dim) >= 1
        assert all(codec.codebook_size(source) >= 1 for source in range(self.n_sources))

    def test_fingerprint_is_stable(self) -> None:
        first, second = self.make().fingerprint, self.make().fingerprint
        assert first == second
        assert len(first) == 64 and set(first) <= set("0123456789abcdef")

    def test_lengths(self) -> None:
        codec = self.make()
        for n_samples in self.lengths(codec):
            wave = self.wave(codec, n_samples)
            n_frames = math.ceil(n_samples / codec.info.hop_length)
            encoded = codec.analyse(wave)
            assert encoded.latents.shape == (n_frames, codec.info.embedding_dim)
            assert encoded.n_samples == n_samples
            for source in range(self.n_sources):
                codes = codec.encode(wave, source)
                assert codes.shape == (1, n_frames)
                decoded = codec.decode(codes, n_samples, source, wave[0])
                assert decoded.shape == wave.shape
                assert decoded.is_floating_point() and decoded.isfinite().all()

    def test_analysis(self) -> None:
        codec = self.make()
        encoded = codec.analyse(self.wave(codec, 3 * codec.info.hop_length + 1))
        assert encoded.latents.is_floating_point() and encoded.latents.isfinite().all()
        assert math.isfinite(encoded.scale) and encoded.scale > 0
        if encoded.codes is not None:
            assert encoded.codes.dtype == torch.int64 and encoded.codes.min() >= 0
            assert encoded.codes.shape == (encoded.n_frames,)

    def test_silence(self) -> None:
        codec = self.make()
        silence = torch.zeros_like(self.wave(codec, 2 * codec.info.hop_length))
        encoded = codec.analyse(silence)
        assert encoded.latents.isfinite().all() and math.isfinite(encoded.scale)

    def test_codes(self) -> None:
        codec = self.make()
        wave = self.wave(codec, 4 * codec.info.hop_length, batch=2)
        for source in range(self.n_sources):
            codes = codec.encode(wave, source)
            assert codes.dtype == torch.int64
            assert codes.min() >= 0 and codes.max() < codec.codebook_size(source)
            assert torch.equal(codes, codec.encode(wave, source))
            latents = codec.embed(codes, source)
            assert latents.shape == (*codes.shape, codec.info.embedding_dim)
            assert latents.isfinite().all()

    def test_decoding_is_deterministic_and_by_row(self) -> None:
        codec = self.make()
        n_samples = 4 * codec.info.hop_length
        wave = self.wave(codec, n_samples)
        for source in range(self.n_sources):
            codes = torch.arange(8, device=wave.device).view(2, 4) % codec.codebook_size(source)
            both = codec.decode(codes, n_samples, source, wave[0])
            assert_close(both, codec.decode(codes, n_samples, source, wave[0]))
            assert_close(both[1:], codec.decode(codes[1:], n_samples, source, wave[0]))

    def test_a_source_is_an_index(self) -> None:
        codec = self.make()
        for wrong in ("drums", None, -1):
            ask: Any = partial(codec.codebook_size, wrong)  # type: ignore[arg-type]
            assert_raises(IncompatibleComponentsError, ask)

    def test_refuses_wrong_channels(self) -> None:
        codec = self.make()
        wave = self.wave(codec, 2 * codec.info.hop_length)
        for wrong in (torch.cat([wave, wave], 1), torch.cat([wave, wave], 0)):
            assert_raises(ShapeError, partial(codec.analyse, wrong))


def device_of(codec: Codec) -> torch.device:
    """Where the codec's vectors live."""
    return codec.embed(torch.zeros(1, 1, dtype=torch.int64), 0).device
