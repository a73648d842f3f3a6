"""Which tensors a codec ``lq-vae`` of given sizes keeps in its file, with their shapes.

The names are those of ``codec.safetensors``, see ``codec_names`` for the reference's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lqsep.core.components.component_config import ComponentConfig

# The component that the reference's codec becomes.
CODEC = "lq-vae"

_Shape = tuple[int, ...]


@dataclass(frozen=True)
class CodecSizes:
    """The settings of ``lq-vae`` that decide on names and shapes; per level from the finest."""

    downs_t: tuple[int, ...]
    strides_t: tuple[int, ...]
    multipliers: tuple[int, ...]
    width: int
    depth: int
    embedding_dim: int
    codebook_size: int

    @classmethod
    def of(cls, config: ComponentConfig) -> CodecSizes:
        """Those of a configuration of ``lq-vae``."""
        settings = config.model_dump()
        return cls(**{field.name: settings[field.name] for field in fields(cls)})

    @property
    def levels(self) -> int:
        return len(self.downs_t)


def codec_tensors(sizes: CodecSizes) -> dict[str, Tensor]:
    """The tensors of a codec without values, in the reference's order."""
    with torch.device("meta"):
        return {name: torch.empty(shape) for name, shape in _shapes(sizes)}


def codebooks_of(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """The codebooks among a codec's tensors, by level from the finest."""
    levels = sum(name.endswith(".codebook") for name in tensors)
    return [tensors[f"quantizers.{level}.codebook"] for level in range(levels)]


def _shapes(sizes: CodecSizes) -> Iterator[tuple[str, _Shape]]:
    """Encoders, decoders, codebooks; level L has blocks 0 to L, each shortening further."""
    for side in ("encoders", "decoders"):
        for level in range(sizes.levels):
            for block in range(level + 1):
                prefix = f"{side}.{level}.blocks.{block}"
                yield from (_encoder_block if side == "encoders" else _decoder_block)(
                    prefix, sizes, level, block
                )
            if side == "decoders":
                yield from _convolution(f"decoders.{level}.to_wave", sizes.embedding_dim, 1, 3)
    for level in range(sizes.levels):
        yield f"quantizers.{level}.codebook", (sizes.codebook_size, sizes.embedding_dim)


def _encoder_block(
    prefix: str, sizes: CodecSizes, level: int, block: int
) -> Iterator[tuple[str, _Shape]]:
    width, kernel = sizes.width * sizes.multipliers[level], 2 * sizes.strides_t[block]
    inputs = sizes.embedding_dim if block else 1
    for stage in range(sizes.downs_t[block]):
        name = f"{prefix}.stages.{stage}"
        yield from _convolution(f"{name}.down", width if stage else inputs, width, kernel)
        yield from _residual_units(name, sizes, level)
    yield from _convolution(f"{prefix}.project", width, sizes.embedding_dim, 3)


def _decoder_block(
    prefix: str, sizes: CodecSizes, level: int, block: int
) -> Iterator[tuple[str, _Shape]]:
    width, kernel = sizes.width * sizes.multipliers[level], 2 * sizes.strides_t[block]
    yield from _convolution(f"{prefix}.project", sizes.embedding_dim, width, 3)
    last = sizes.downs_t[block] - 1
    for stage in range(last + 1):
        name = f"{prefix}.stages.{stage}"
        outputs = sizes.embedding_dim if stage == last else width
        yield from _residual_units(name, sizes, level)
        # Of a transposed convolution, whose inputs come first.
        yield f"{name}.up.weight", (width, outputs, kernel)
        yield f"{name}.up.bias", (outputs,)


def _residual_units(prefix: str, sizes: CodecSizes, level: int) -> Iterator[tuple[str, _Shape]]:
    width = sizes.width * sizes.multipliers[level]
    for unit in range(sizes.depth * sizes.multipliers[level]):
        name = f"{prefix}.residual.{unit}"
        yield from _convolution(f"{name}.dilated", width, width, 3)
        yield from _convolution(f"{name}.pointwise", width, width, 1)


def _convolution(name: str, inputs: int, outputs: int, kernel: int) -> Iterator[tuple[str, _Shape]]:
    yield f"{name}.weight", (outputs, inputs, kernel)
    yield f"{name}.bias", (outputs,)
