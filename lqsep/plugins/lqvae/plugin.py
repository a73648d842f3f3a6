"""Declares the codec ``lq-vae``."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.lqvae.config import LQVAEConfig
    from lqsep.plugins.lqvae.train_config import LQVAETrainConfig

    yield ComponentSpec(
        kind=Kind.CODEC,
        name="lq-vae",
        config=LQVAEConfig,
        factory="lqsep.plugins.lqvae.factory:build_codec",
        summary="Convolutional VQ-VAE whose latents add up as waves do (LQ-VAE)",
        api_version=1,
        trainer="lqsep.plugins.lqvae.train:train_codec",
        train_config=LQVAETrainConfig,
    )
