"""The transformer network over code vectors."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lqsep.plugins.transformer.attention import SelfAttention
from lqsep.plugins.transformer.kv_cache import KVCache
from lqsep.plugins.transformer.patterns import patterns

# Standard deviation of initial weights, as in GPT-2.
_INITIAL_STD = 0.02
# x * sigmoid(1.702 x) approximates the Gaussian error linear unit (arXiv:1606.08415).
QUICK_GELU = 1.702


class LayerNorm(nn.LayerNorm):
    """Normalises in float32 whatever the precision of its input."""

    def forward(self, input: Tensor) -> Tensor:
        normed = F.layer_norm(
            input.float(), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return normed.to(input.dtype)


class Mlp(nn.Module):
    """Two linear layers with a quick GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        h = self.hidden(x)
        out: Tensor = self.out(h * torch.sigmoid(QUICK_GELU * h))
        return out


class Block(nn.Module):
    """One layer: ``a = attention(norm(x)); m = mlp(norm(x + a)); x + a + m``."""

    def __init__(self, attention: SelfAttention, width: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(width)
        self.attention = attention
        self.mlp_norm = LayerNorm(width)
        self.mlp = Mlp(width, mlp)
        self.dropout = dropout

    def forward(
        self,
        x: Float[Tensor, "rows frames width"],
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "rows frames width"]:
        """All frames at once."""
        a = self._drop(self.attention(self.attention_norm(x), cache, layer))
        m = self._drop(self.mlp(self.mlp_norm(x + a)))
        return x + a + m

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class TransformerModel(nn.Module):
    """Predicts every frame's code from those before it.

    Args:
        codebook: The codec's vectors. They are not learned and not part of the state dict, so
            that a prior's weights never overwrite the codec's.
        width: Size of the residual stream.
        depth: Number of layers.
        heads: Attention heads.
        max_frames: Longest sequence.
        attention: ``"factored"`` or ``"dense"``.
        blocks: Number of rows of the grid of factored attention; divides ``max_frames``.
        m_attn: Size of queries, keys and values in widths.
        m_mlp: Hidden size of the MLP in widths.
        dropout: In training, of embeddings, attention weights, attention and MLP outputs.

    Attributes:
        recompute: In training, keep no activations inside the layers but compute them again in the
            backward pass. Off.

    Reference: Dhariwal et al. 2020, arXiv:2005.00341, section 4.
    """

    codebook: Tensor

    def __init__(
        self,
        codebook: Float[Tensor, "codebook_size embedding_dim"],
        *,
        width: int,
        depth: int,
        heads: int,
        max_frames: int,
        attention: str = "factored",
        blocks: int = 1,
        m_attn: float = 0.25,
        m_mlp: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        codebook_size, embedding_dim = codebook.shape
        inner = int(m_attn * width)
        self.max_frames = max_frames
        self.block_frames = max_frames // blocks
        self.patterns = patterns(depth, attention)
        self.heads = heads
        self.head_dim = inner // heads
        self.dropout = dropout
        self.recompute = False
        self.register_buffer("codebook", codebook.detach().float().clone(), persistent=False)
        self.embedding = nn.Linear(embedding_dim, width, bias=False)
        self.start = nn.Parameter(torch.empty(width))
        self.positions = nn.Parameter(torch.empty(max_frames, width))
        self.blocks = nn.ModuleList(
            Block(
                SelfAttention(width, inner, heads, pattern, self.block_frames, dropout),
                width,
                int(m_mlp * width),
                dropout,
            )
            for pattern in self.patterns
        )
        self.output = nn.Linear(width, codebook_size, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        for parameter in (self.start, self.positions):
            nn.init.normal_(parameter, std=_INITIAL_STD)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def block_dtype(self) -> torch.dtype:
        """Precision of the layers; embeddings and output stay float32."""
        return self.blocks[0].attention.qkv.weight.dtype  # type: ignore[union-attr,return-value]

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Bring the layers' matrices to a precision; everything else stays float32."""
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                module.to(dtype)

    def forward(
        self, codes: Int64[Tensor, "rows frames"]
    ) -> Float[Tensor, "rows frames codebook_size"]:
        """Logits of every frame given those before it; ``frames <= max_frames``."""
        logits: Tensor = self.output(self._run(self._inputs(codes[:, :-1]), None))
        return logits

    def prime(
        self, prompt: Int64[Tensor, "rows frames"], cache: KVCache
    ) -> Float[Tensor, "rows codebook_size"]:
        """Fill an empty cache from a prompt, possibly of no frames; logits of the next frame."""
        inputs = self._inputs(prompt)
        logits: Tensor = self.output(self._run(inputs, cache)[:, -1])
        cache.advance(inputs.shape[1])
        return logits

    def new_cache(self, rows: int) -> KVCache:
        """An empty cache for this model."""
        return KVCache(
            self.patterns,
            rows=rows,
            heads=self.heads,
            head_dim=self.head_dim,
            max_frames=self.max_frames,
            block_frames=self.block_frames,
            dtype=self.block_dtype,
            device=self.start.device,
        )

    def _inputs(self, codes: Tensor) -> Tensor:
        """Start token, then the codes, with positions; one frame more than there are codes."""
        rows, frames = codes.shape
        start = self.start.expand(rows, 1, -1)
        tokens = self.embedding(self.codebook[codes])
        x = torch.cat([start, tokens], 1) + self.positions[: frames + 1]
        return F.dropout(x, self.dropout, self.training)

    def _run(self, inputs: Tensor, cache: KVCache | None) -> Tensor:
        x = inputs.to(self.block_dtype)
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        for layer, block in enumerate(self.blocks):
            if recompute:
                x = checkpoint(block, x, cache, layer, use_reentrant=False)
            else:
                x = block(x, cache, layer)
        return x.float()
