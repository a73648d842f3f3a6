"""Encoders and decoders of the LQ-VAE.

Every level has its own encoder and decoder between the raw wave and its latents; level 0 is the
finest, the last level the coarsest. Nothing is shared between levels, so each one can be used
alone: coding a wave at one level runs one encoder.

References: Dhariwal et al. 2020 (Jukebox), arXiv:2005.00341, sections 3 and B.1; Mancusi et al.
2021, arXiv:2110.05313.
"""

from collections.abc import Sequence
from math import prod
from typing import cast

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lqsep.core.errors import ConfigError, ShapeError
from lqsep.plugins.lqvae.quantizer import Quantizer


class ResidualUnit(nn.Module):
    """x + [ReLU, dilated convolution of 3, ReLU, convolution of 1](x)."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilated = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.pointwise = nn.Conv1d(width, width, 1)

    def forward(
        self, features: Float[Tensor, "batch width frames"]
    ) -> Float[Tensor, "batch width frames"]:
        hidden = F.relu(self.dilated(F.relu(features)), inplace=True)
        return features + cast(Tensor, self.pointwise(hidden))


def _residual_units(width: int, dilations: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(*(ResidualUnit(width, dilation) for dilation in dilations))


class DownStage(nn.Module):
    """Shorten by ``stride``, then refine with residual units of growing dilation."""

    def __init__(self, in_channels: int, width: int, stride: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.Conv1d(in_channels, width, 2 * stride, stride, stride // 2)
        self.residual = _residual_units(width, dilations)

    def forward(
        self, features: Float[Tensor, "batch in_channels frames"]
    ) -> Float[Tensor, "batch width shorter"]:
        return cast(Tensor, self.residual(self.down(features)))


class UpStage(nn.Module):
    """Refine with residual units of shrinking dilation, then lengthen by ``stride``."""

    def __init__(
        self, width: int, out_channels: int, stride: int, dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.residual = _residual_units(width, dilations[::-1])
        self.up = nn.ConvTranspose1d(width, out_channels, 2 * stride, stride, stride // 2)
        self._stride, self._residual_reach = stride, sum(dilations)

    def reach(self, longer: int) -> int:
        """Frames on either side that come into so many on either side of the result."""
        return -(-longer // self._stride) + 1 + self._residual_reach

    def forward(
        self, features: Float[Tensor, "batch width frames"]
    ) -> Float[Tensor, "batch out_channels longer"]:
        return cast(Tensor, self.up(self.residual(features)))


class EncoderBlock(nn.Module):
    """``downs`` shortening stages and a projection to ``embedding_dim``."""

    def __init__(
        self,
        in_channels: int,
        embedding_dim: int,
        width: int,
        downs: int,
        stride: int,
        dilations: Sequence[int],
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(
                DownStage(width if i else in_channels, width, stride, dilations)
                for i in range(downs)
            )
        )
        self.project = nn.Conv1d(width, embedding_dim, 3, padding=1)

    def forward(
        self, features: Float[Tensor, "batch in_channels frames"]
    ) -> Float[Tensor, "batch embedding_dim shorter"]:
        return cast(Tensor, self.project(self.stages(features)))


class DecoderBlock(nn.Module):
    """A projection from ``embedding_dim`` and ``downs`` lengthening stages back to it."""

    def __init__(
        self, embedding_dim: int, width: int, downs: int, stride: int, dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.project = nn.Conv1d(embedding_dim, width, 3, padding=1)
        self.stages = nn.Sequential(
            *(
                UpStage(width, width if i < downs - 1 else embedding_dim, stride, dilations)
                for i in range(downs)
            )
        )

    def forward(
        self, latents: Float[Tensor, "batch embedding_dim frames"]
    ) -> Float[Tensor, "batch embedding_dim longer"]:
        return cast(Tensor, self.stages(self.project(latents)))


class Encoder(nn.Module):
    """Wave to latents of one level: a chain of blocks, the finest first."""

    def __init__(self, blocks: Sequence[EncoderBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self, wave: Float[Tensor, "batch 1 samples"]
    ) -> Float[Tensor, "batch embedding_dim frames"]:
        features = wave
        for block in self.blocks:
            features = block(features)
        return features


class Decoder(nn.Module):
    """Latents of one level to a wave: a chain of blocks, the coarsest first."""

    def __init__(self, blocks: Sequence[DecoderBlock], embedding_dim: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)  # block i undoes the encoder's block i
        self.to_wave = nn.Conv1d(embedding_dim, 1, 3, padding=1)

    def forward(
        self, latents: Float[Tensor, "batch embedding_dim frames"]
    ) -> Float[Tensor, "batch 1 samples"]:
        features = latents
        for block in reversed(self.blocks):
            features = block(features)
        return cast(Tensor, self.to_wave(features))


class LQVAE(nn.Module):
    """Hierarchical VQ-VAE over a mono wave.

    Args:
        downs_t: Shortening stages added by each level; its length is the number of levels.
        strides_t: Factor of each of those stages, per level; even.
        multipliers: Per level, the factor on ``width`` and ``depth`` in all of that level's blocks.
        embedding_dim: Size of a latent vector.
        codebook_size: Codes per level.
        width: Channels inside the blocks.
        depth: Residual units per stage.
        dilation_growth: Unit ``d`` of a stage has the dilation ``dilation_growth ** d``.
        decay: See :class:`~lqsep.plugins.lqvae.quantizer.Quantizer`, likewise the next three.
        revival_threshold: Running count below which a code is replaced.
        initial_count: Running count of a code at the start.

    Example:
        >>> import torch
        >>> model = LQVAE(embedding_dim=4, codebook_size=8, width=4, depth=1)
        >>> codes = model.encode(torch.zeros(1, 1, 128), level=2)
        >>> codes.shape, model.decode(codes, level=2).shape
        (torch.Size([1, 2]), torch.Size([1, 1, 128]))
    """

    def __init__(
        self,
        *,
        downs_t: Sequence[int] = (2, 2, 2),
        strides_t: Sequence[int] = (2, 2, 2),
        multipliers: Sequence[int] = (2, 1, 1),
        embedding_dim: int = 64,
        codebook_size: int = 2048,
        width: int = 32,
        depth: int = 4,
        dilation_growth: int = 3,
        decay: float = 0.99,
        revival_threshold: float = 1.0,
        initial_count: float = 1.0,
    ) -> None:
        super().__init__()
        _check_sizes(downs_t, strides_t, multipliers, width, depth)
        self.levels = len(downs_t)
        self.embedding_dim = embedding_dim
        self.codebook_size = codebook_size
        stage_hops = [stride**downs for downs, stride in zip(downs_t, strides_t, strict=True)]
        self.hop_lengths = tuple(prod(stage_hops[: level + 1]) for level in range(self.levels))
        encoders: list[Encoder] = []
        decoders: list[Decoder] = []
        for level, multiplier in enumerate(multipliers):
            level_width = width * multiplier
            dilations = [dilation_growth**unit for unit in range(depth * multiplier)]
            shapes = list(zip(downs_t, strides_t, strict=True))[: level + 1]
            encoders.append(
                Encoder(
                    [
                        EncoderBlock(
                            embedding_dim if i else 1,
                            embedding_dim,
                            level_width,
                            downs,
                            stride,
                            dilations,
                        )
                        for i, (downs, stride) in enumerate(shapes)
                    ]
                )
            )
            decoders.append(
                Decoder(
                    [
                        DecoderBlock(embedding_dim, level_width, downs, stride, dilations)
                        for downs, stride in shapes
                    ],
                    embedding_dim,
                )
            )
        self.encoders = nn.ModuleList(encoders)
        self.decoders = nn.ModuleList(decoders)
        self.quantizers = nn.ModuleList(
            Quantizer(
                codebook_size,
                embedding_dim,
                decay=decay,
                revival_threshold=revival_threshold,
                initial_count=initial_count,
            )
            for _ in range(self.levels)
        )

    def quantizer(self, level: int) -> Quantizer:
        """The quantiser of a level."""
        self._check_level(level)
        return cast(Quantizer, self.quantizers[level])

    def codebook(self, level: int) -> Float[Tensor, "codebook_size embedding_dim"]:
        """The codebook of a level (the buffer itself, not a copy)."""
        return self.quantizer(level).codebook

    def encode_latents(
        self, wave: Float[Tensor, "batch channels samples"], level: int
    ) -> Float[Tensor, "batch embedding_dim frames"]:
        """Latents of one level before quantising; samples beyond a whole frame are dropped.

        Raises:
            ShapeError: The wave is not mono, or shorter than one frame.
        """
        self._check_level(level)
        if wave.ndim != 3 or wave.shape[1] != 1:
            raise ShapeError(
                f"lq-vae encoder: expected a mono wave (batch, 1, samples), got "
                f"{tuple(wave.shape)}. Average the channels first."
            )
        if wave.shape[2] < self.hop_lengths[level]:
            raise ShapeError(
                f"lq-vae encoder: a frame of level {level} takes {self.hop_lengths[level]} "
                f"samples, got {wave.shape[2]}. Pad the wave."
            )
        return cast(Tensor, self.encoders[level](wave))

    def encode(
        self, wave: Float[Tensor, "batch channels samples"], level: int
    ) -> Int[Tensor, "batch frames"]:
        """Codes of one level; only this level's encoder runs."""
        return self.quantizer(level).encode(self.encode_latents(wave, level))

    def lookup(
        self, codes: Int[Tensor, "batch frames"], level: int
    ) -> Float[Tensor, "batch embedding_dim frames"]:
        """Codebook entries of codes."""
        return self.quantizer(level).lookup(codes)

    def decode_latents(
        self, latents: Float[Tensor, "batch embedding_dim frames"], level: int
    ) -> Float[Tensor, "batch channels samples"]:
        """Wave of (quantised or other) latents of one level."""
        self._check_level(level)
        if latents.ndim != 3 or latents.shape[1] != self.embedding_dim:
            raise ShapeError(
                f"lq-vae decoder: expected latents (batch, {self.embedding_dim}, frames), "
                f"got {tuple(latents.shape)}."
            )
        return cast(Tensor, self.decoders[level](latents))

    def decoder_reach(self, level: int) -> int:
        """Frames of a level on either side of a moment that its decoded sound depends on."""
        self._check_level(level)
        reach = 1  # of the last convolution, in samples
        for block in cast(Decoder, self.decoders[level]).blocks:
            for stage in reversed(cast(DecoderBlock, block).stages):
                reach = cast(UpStage, stage).reach(reach)
            reach += 1
        return reach

    def decode(
        self,
        codes: Int[Tensor, "batch frames"] | Float[Tensor, "batch embedding_dim frames"],
        level: int,
    ) -> Float[Tensor, "batch channels samples"]:
        """Wave of one level's codes, or of its latents when ``codes`` is a float tensor."""
        latents = codes if codes.is_floating_point() else self.lookup(codes, level)
        return self.decode_latents(latents, level)

    def _check_level(self, level: int) -> None:
        if not 0 <= level < self.levels:
            raise ConfigError(
                f"lq-vae: level {level} does not exist; levels are 0 (finest) to {self.levels - 1}."
            )


def _check_sizes(
    downs_t: Sequence[int],
    strides_t: Sequence[int],
    multipliers: Sequence[int],
    width: int,
    depth: int,
) -> None:
    if not len(downs_t) == len(strides_t) == len(multipliers) > 0:
        raise ConfigError(
            "lq-vae: downs_t, strides_t and multipliers need one entry per level, got "
            f"{len(downs_t)}, {len(strides_t)} and {len(multipliers)}."
        )
    if min(*downs_t, *strides_t, *multipliers, width, depth) < 1:
        raise ConfigError(
            "lq-vae: downs_t, strides_t, multipliers, width and depth must be positive."
        )
    if any(stride % 2 for stride in strides_t):
        # A kernel of 2s with padding s//2 keeps lengths whole only for an even s.
        raise ConfigError(f"lq-vae: strides_t must be even, got {tuple(strides_t)}.")
