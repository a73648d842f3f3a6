"""Declares the likelihood ``gaussian-sum``."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.gaussian_sum.config import CalibrationTrainConfig, GaussianSumConfig

    yield ComponentSpec(
        kind=Kind.LIKELIHOOD,
        name="gaussian-sum",
        config=GaussianSumConfig,
        factory="lqsep.plugins.gaussian_sum.factory:build_likelihood",
        summary="Calibrated Gaussian around the unquantised sum of two codes",
        api_version=1,
        trainer="lqsep.plugins.gaussian_sum.train:train_calibration",
        train_config=CalibrationTrainConfig,
    )
