"""The network one frame at a time.

A step of a small model multiplies a few rows by small matrices, and half of its time goes into
everything else. Here the layers are one flat loop over matrices laid out for it, without module
calls: on a CPU a quarter to a third less time per step than through the modules.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from lqsep.plugins.transformer.kv_cache import KVCache
from lqsep.plugins.transformer.model import QUICK_GELU, Block, TransformerModel


class _Layer(NamedTuple):
    """Matrices as ``(inputs, outputs)``, so that none is transposed in a step."""

    attention_norm: nn.LayerNorm
    qkv: Tensor
    qkv_bias: Tensor
    attention_out: Tensor
    attention_out_bias: Tensor
    mlp_norm: nn.LayerNorm
    hidden: Tensor
    hidden_bias: Tensor
    out: Tensor
    out_bias: Tensor


class Stepper:
    """Appends codes to a `KVCache` that `TransformerModel.prime` has begun.

    Args:
        model: Weights loaded, on its device. Its weights are read once: train no further.
    """

    def __init__(self, model: TransformerModel) -> None:
        with torch.no_grad():
            self._embedding = model.embedding(model.codebook)  # codebook_size, width
            self._positions = model.positions.detach()
            self._layers = [_layer(block) for block in model.blocks]  # type: ignore[arg-type]
            self._output = _transposed(model.output)
        self._dtype = model.block_dtype
        self._heads = model.heads
        self._head_dim = model.head_dim

    def step(
        self, codes: Int64[Tensor, " rows"], cache: KVCache
    ) -> Float[Tensor, "rows codebook_size"]:
        """Append one code per row; logits of the next frame."""
        rows = codes.shape[0]
        dtype = self._dtype
        x = self._embedding[codes].add_(self._positions[cache.position]).to(dtype)
        for index, layer in enumerate(self._layers):
            normed = _norm(x, layer.attention_norm)
            qkv = torch.addmm(layer.qkv_bias, normed, layer.qkv)
            qkv = qkv.view(rows, 3, self._heads, self._head_dim)
            seen = cache.append(index, qkv[:, 1:])
            x.add_(layer.attention_out_bias)
            if seen is not None:
                query = qkv[:, 0].unsqueeze(2)  # rows, heads, 1, head_dim
                mixed = F.scaled_dot_product_attention(query, *seen)
                x.addmm_(mixed.view(rows, -1), layer.attention_out)
            hidden = torch.addmm(layer.hidden_bias, _norm(x, layer.mlp_norm), layer.hidden)
            x.add_(layer.out_bias).addmm_(F.silu(hidden, inplace=True), layer.out)
        cache.advance(1)
        return torch.mm(x.float(), self._output)


def _norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    normed = F.layer_norm(x.float(), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    return normed.to(x.dtype)


def _layer(block: Block) -> _Layer:
    attention, mlp = block.attention, block.mlp
    # x * sigmoid(a x) = silu(a x) / a: the constants go into the matrices on both sides.
    return _Layer(
        attention_norm=block.attention_norm,
        qkv=_transposed(attention.qkv),
        qkv_bias=attention.qkv.bias.detach(),
        attention_out=_transposed(attention.out),
        attention_out_bias=attention.out.bias.detach(),
        mlp_norm=block.mlp_norm,
        hidden=_transposed(mlp.hidden) * QUICK_GELU,
        hidden_bias=mlp.hidden.bias.detach() * QUICK_GELU,
        out=_transposed(mlp.out) / QUICK_GELU,
        out_bias=mlp.out.bias.detach(),
    )


def _transposed(linear: nn.Linear) -> Tensor:
    return linear.weight.detach().t().contiguous()
