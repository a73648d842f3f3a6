"""Declares the refiners."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.refiners.config import ConsistencyConfig, WienerConfig

    yield ComponentSpec(
        kind=Kind.REFINER,
        name="wiener",
        config=WienerConfig,
        factory="lqsep.plugins.refiners.factory:build_wiener",
        summary="Soft masks on the mixture's spectrum, at its own rate and channels",
        api_version=1,
    )
    yield ComponentSpec(
        kind=Kind.REFINER,
        name="consistency",
        config=ConsistencyConfig,
        factory="lqsep.plugins.refiners.factory:build_consistency",
        summary="Makes the stems sum to the mixture",
        api_version=1,
    )
