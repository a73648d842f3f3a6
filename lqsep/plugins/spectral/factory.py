"""Builds the codec ``spectral-vq`` from its configuration."""

from __future__ import annotations

import torch

from lqsep.core.components.assemble import BuildContext
from lqsep.plugins.spectral.codec import SpectralCodec
from lqsep.plugins.spectral.config import SpectralConfig
from lqsep.plugins.spectral.features import SpectralFeatures
from lqsep.plugins.spectral.store import load_books


def build_features(config: SpectralConfig, device: torch.device | str = "cpu") -> SpectralFeatures:
    """The spectra of a configuration.

    Raises:
        ConfigError: The bands do not fit the spectra.
    """
    return SpectralFeatures(
        config.sample_rate,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        n_bands=config.n_bands,
        linear_hz=config.linear_hz,
        floor_db=config.floor_db,
        device=device,
    )


def build_codec(config: SpectralConfig, context: BuildContext) -> SpectralCodec:
    """The codec with its codebooks.

    Raises:
        CheckpointError: The codebooks are missing, damaged, or of other sizes or sources.
        ConfigError: The bands do not fit the spectra.
    """
    features = build_features(config, context.device)
    path, sha256 = context.file(config.checkpoint)
    books = load_books(
        path,
        features,
        config.codebook_size,
        context.sources,
        sha256=sha256,
    )
    return SpectralCodec(features, [book.to(context.device) for book in books], level=config.level)
