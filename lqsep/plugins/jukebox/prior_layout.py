"""Which tensors a ``transformer`` prior of given sizes has in the reference's checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lqsep.core.components.component_config import ComponentConfig

# The component that the reference's priors become.
PRIOR = "transformer"


@dataclass(frozen=True)
class PriorSizes:
    """The settings of ``transformer`` that the reference's checkpoints know too."""

    width: int
    depth: int
    heads: int
    max_frames: int
    attention: str
    blocks: int
    m_attn: float
    m_mlp: float

    @classmethod
    def of(cls, config: ComponentConfig) -> PriorSizes:
        """Those of a configuration of ``transformer``."""
        settings = config.model_dump()
        return cls(**{field.name: settings[field.name] for field in fields(cls)})


def prior_tensors(sizes: PriorSizes, codebooks: Sequence[Tensor]) -> dict[str, Tensor]:
    """The tensors of a prior without values, in the reference's order.

    Args:
        sizes: Of the prior.
        codebooks: The codec's, by level from the finest; the prior is of the last one's codes.
    """
    with torch.device("meta"):
        return {name: torch.empty(shape) for name, shape in _shapes(sizes, codebooks)}


def _shapes(
    sizes: PriorSizes, codebooks: Sequence[Tensor]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    n_codes, embedding_dim = codebooks[-1].shape
    yield "prior.start_token", (1, sizes.width)
    for level, codebook in enumerate(codebooks):
        yield f"prior.bottleneck.level_blocks.{level}.k", tuple(codebook.shape)
    yield "prior.x_embs.weight", (sizes.width, embedding_dim)
    yield "prior.pos_emb.pos_emb", (sizes.max_frames, sizes.width)
    for layer in range(sizes.depth):
        for name, shape in _layer(sizes):
            yield f"prior.transformer._attn_mods.{layer}.{name}", shape
    yield "prior.x_out.weight", (n_codes, sizes.width)


def _layer(sizes: PriorSizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Matrices are inputs x outputs, the transpose of torch's."""
    width = sizes.width
    inner, hidden = int(sizes.m_attn * width), int(sizes.m_mlp * width)
    yield "attn.c_attn.w", (width, 3 * inner)
    yield "attn.c_attn.b", (3 * inner,)
    yield "attn.c_proj.w", (inner, width)
    yield "attn.c_proj.b", (width,)
    yield "ln_0.weight", (width,)
    yield "ln_0.bias", (width,)
    yield "mlp.c_fc.w", (width, hidden)
    yield "mlp.c_fc.b", (hidden,)
    yield "mlp.c_proj.w", (hidden, width)
    yield "mlp.c_proj.b", (width,)
    yield "ln_1.weight", (width,)
    yield "ln_1.bias", (width,)
