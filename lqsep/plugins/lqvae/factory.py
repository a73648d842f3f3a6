"""Builds the codec ``lq-vae`` from its configuration."""

from __future__ import annotations

import torch

from lqsep.core.components.assemble import BuildContext
from lqsep.core.errors import CheckpointError
from lqsep.core.store.weights import load_weights
from lqsep.plugins.lqvae.codec import (
    LQVAECodec,
    check_inference_tensors,
    load_inference_tensors,
)
from lqsep.plugins.lqvae.config import LQVAEConfig
from lqsep.plugins.lqvae.model import LQVAE


def build_model(
    config: LQVAEConfig,
    *,
    decay: float = 0.99,
    revival_threshold: float = 1.0,
    initial_count: float = 1.0,
) -> LQVAE:
    """The networks of a configuration, with fresh weights.

    The settings of the quantisers matter to training only.
    """
    return LQVAE(
        downs_t=config.downs_t,
        strides_t=config.strides_t,
        multipliers=config.multipliers,
        embedding_dim=config.embedding_dim,
        codebook_size=config.codebook_size,
        width=config.width,
        depth=config.depth,
        dilation_growth=config.dilation_growth,
        decay=decay,
        revival_threshold=revival_threshold,
        initial_count=initial_count,
    )


def build_codec(config: LQVAEConfig, context: BuildContext) -> LQVAECodec:
    """The codec with its trained weights.

    Raises:
        CheckpointError: The weights are missing, damaged or of another size.
    """
    path, sha256 = context.file(config.checkpoint)
    weights = load_weights(path, sha256=sha256)
    try:
        with torch.device("meta"):  # sizes that do not fit the weights take no memory
            check_inference_tensors(build_model(config), weights.tensors)
        model = build_model(config)
        load_inference_tensors(model, weights.tensors)
    except CheckpointError as error:
        raise CheckpointError(f"loading codec 'lq-vae' from {path}: {error}") from error
    return LQVAECodec(
        model.to(device=context.device, dtype=context.dtype),
        sample_rate=config.sample_rate,
        level=config.level,
    )
