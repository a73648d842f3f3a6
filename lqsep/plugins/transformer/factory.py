"""Builds the transformer prior from its configuration."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.components.assemble import BuildContext
from lqsep.core.components.component_config import prior_file
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.store.weights import (
    check_codec_fingerprint,
    check_module,
    load_module,
    load_weights,
)
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.model import TransformerModel
from lqsep.plugins.transformer.prior import TransformerPrior


def build_prior(config: TransformerConfig, context: BuildContext) -> TransformerPrior:
    """A prior with its weights, on the context's device.

    Raises:
        CheckpointError: The weights are missing, damaged, of other sizes or of another codec.
        IncompatibleComponentsError: There is no codec whose vectors it could use.
    """
    source = context.source_index
    if context.codec is None or context.source is None or source is None:
        raise IncompatibleComponentsError(
            "building a transformer prior: it needs the codec's code vectors and its source's "
            "name; build the codec first"
        )
    path, sha256 = context.file(config.checkpoint or prior_file(context.source))
    weights = load_weights(path, sha256=sha256)
    check_codec_fingerprint(path, weights.metadata, context.codec.fingerprint)
    codebook = codec_codebook(context.codec, source, context.device)
    with torch.device("meta"):  # sizes that do not fit the weights take no memory
        shapes = build_model(config, torch.empty_like(codebook, device="meta"))
        check_module(shapes, weights.tensors, path)
    model = build_model(config, codebook)
    load_module(model, weights.tensors, path)
    model.to(context.device)
    model.set_block_dtype(context.dtype)
    return TransformerPrior(model)


def build_model(
    config: TransformerConfig, codebook: Float[Tensor, "codebook_size embedding_dim"]
) -> TransformerModel:
    """The network with fresh weights, float32, on the CPU unless the codebook has no values."""
    return TransformerModel(
        codebook if codebook.is_meta else codebook.cpu(),
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        max_frames=config.max_frames,
        attention=config.attention,
        blocks=config.blocks if config.attention == "factored" else 1,
        m_attn=config.m_attn,
        m_mlp=config.m_mlp,
        dropout=config.dropout,
    )


def codec_codebook(
    codec: Codec, source: int, device: torch.device
) -> Float[Tensor, "codebook_size embedding_dim"]:
    """The vectors of all codes that a source may use; ``device`` is the codec's."""
    codes = torch.arange(codec.codebook_size(source), device=device)
    with torch.no_grad():
        return codec.embed(codes[None], source)[0]
