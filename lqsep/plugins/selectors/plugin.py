"""Declares the selectors."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.selectors.config import BestConfig, MeanConfig, RejectionConfig

    yield ComponentSpec(
        kind=Kind.SELECTOR,
        name="rejection",
        config=RejectionConfig,
        factory="lqsep.plugins.selectors.factory:build_rejection",
        summary="All combinations of candidates, by prior and error of the summed waves",
        api_version=1,
    )
    yield ComponentSpec(
        kind=Kind.SELECTOR,
        name="best",
        config=BestConfig,
        factory="lqsep.plugins.selectors.factory:build_best",
        summary="The candidate of the highest posterior",
        api_version=1,
    )
    yield ComponentSpec(
        kind=Kind.SELECTOR,
        name="mean",
        config=MeanConfig,
        factory="lqsep.plugins.selectors.factory:build_mean",
        summary="The mean over all candidates",
        api_version=1,
    )
