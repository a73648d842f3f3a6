"""Causal self-attention over frames, dense or factored.

Factored attention writes the frames row by row into a grid of ``block_frames`` columns. Layers
take turns: *row* sees the own row up to the frame itself, *column* the frames above it in its
column and itself, *previous row* the whole row above. Three layers together reach every earlier
frame at a fraction of the cost.

Reference: Child et al. 2019, arXiv:1904.10509; Dhariwal et al. 2020, arXiv:2005.00341, section 4.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lqsep.plugins.transformer.kv_cache import KVCache
from lqsep.plugins.transformer.patterns import Pattern


def attend(
    query: Float[Tensor, "rows heads frames head_dim"],
    key: Float[Tensor, "rows heads frames head_dim"],
    value: Float[Tensor, "rows heads frames head_dim"],
    pattern: Pattern,
    block_frames: int,
    dropout: float = 0.0,
) -> Float[Tensor, "rows heads frames head_dim"]:
    """Attention of a whole sequence, whose first frame is the first of the grid.

    ``frames`` may be any number: the last row is filled up with frames that nothing before them
    sees. In the first row, *previous row* has nothing to see and gives zeros.
    """
    if pattern is Pattern.DENSE:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=dropout)
    rows, heads, frames, head_dim = query.shape
    padding = -frames % block_frames
    grid = (rows, heads, (frames + padding) // block_frames, block_frames, head_dim)
    q, k, v = (F.pad(x, (0, 0, 0, padding)).view(grid) for x in (query, key, value))
    if pattern is Pattern.PREVIOUS_ROW:
        seen = F.scaled_dot_product_attention(
            q[:, :, 1:], k[:, :, :-1], v[:, :, :-1], dropout_p=dropout
        )
        result = torch.cat([torch.zeros_like(q[:, :, :1]), seen], 2)
    else:
        if pattern is Pattern.COLUMN:
            q, k, v = (x.transpose(2, 3) for x in (q, k, v))
        result = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        if pattern is Pattern.COLUMN:
            result = result.transpose(2, 3)
    return result.reshape(rows, heads, frames + padding, head_dim)[:, :, :frames]


class SelfAttention(nn.Module):
    """Multi-head self-attention of one layer.

    Args:
        width: Size of the residual stream.
        inner: Size of queries, keys and values over all heads; a multiple of ``heads``.
        heads: Number of heads.
        pattern: Which earlier frames are seen.
        block_frames: Length of a grid row.
        dropout: Of the attention weights, in training.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        heads: int,
        pattern: Pattern,
        block_frames: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)
        self.heads = heads
        self.head_dim = inner // heads
        self.pattern = pattern
        self.block_frames = block_frames
        self.dropout = dropout

    def forward(
        self,
        hidden: Float[Tensor, "rows frames width"],
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "rows frames width"]:
        """All frames at once; a cache, which must be empty, is filled with them."""
        rows, frames, _ = hidden.shape
        qkv = self.qkv(hidden).view(rows, frames, 3, self.heads, self.head_dim)
        qkv = qkv.permute(0, 2, 3, 1, 4)  # rows, 3, heads, frames, head_dim
        if cache is not None:
            cache.fill(layer, qkv[:, 1:])
        dropout = self.dropout if self.training else 0.0
        query, key, value = qkv.unbind(1)
        result = attend(query, key, value, self.pattern, self.block_frames, dropout)
        projected: Tensor = self.out(result.transpose(1, 2).reshape(rows, frames, -1))
        return projected
