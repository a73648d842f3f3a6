"""Declares the likelihood ``counts``."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.counts.config import CountsConfig, CountsTrainConfig

    yield ComponentSpec(
        kind=Kind.LIKELIHOOD,
        name="counts",
        config=CountsConfig,
        factory="lqsep.plugins.counts.factory:build_likelihood",
        summary="Frequencies of the mixture's code for every pair of codes (LASS)",
        api_version=1,
        trainer="lqsep.plugins.counts.train:train_counts",
        train_config=CountsTrainConfig,
    )
