"""Declares the codec ``spectral-vq`` and the likelihood ``log-sum``."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.spectral.config import SpectralConfig, SpectralTrainConfig
    from lqsep.plugins.spectral.log_sum_config import LogSumConfig

    yield ComponentSpec(
        kind=Kind.CODEC,
        name="spectral-vq",
        config=SpectralConfig,
        factory="lqsep.plugins.spectral.factory:build_codec",
        summary="Codes of log spectra without phase, one codebook per source",
        api_version=1,
        trainer="lqsep.plugins.spectral.train:train_spectral",
        train_config=SpectralTrainConfig,
    )
    yield ComponentSpec(
        kind=Kind.LIKELIHOOD,
        name="log-sum",
        config=LogSumConfig,
        factory="lqsep.plugins.spectral.log_sum_factory:build_likelihood",
        summary="Gaussian around the log of the sum of two codes' band powers",
        api_version=1,
    )
