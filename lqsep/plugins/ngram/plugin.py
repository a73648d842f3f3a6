"""Declares the n-gram prior."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.ngram.config import NgramConfig, NgramTrainConfig

    yield ComponentSpec(
        kind=Kind.PRIOR,
        name="ngram",
        config=NgramConfig,
        factory="lqsep.plugins.ngram.factory:build_prior",
        summary="Smoothed Markov model of order one to three, counted in one pass",
        api_version=1,
        trainer="lqsep.plugins.ngram.train:train_ngram",
        train_config=NgramTrainConfig,
    )
