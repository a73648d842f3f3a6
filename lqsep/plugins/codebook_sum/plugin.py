"""Declares the likelihoods ``codebook-sum`` and ``delta``."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.codebook_sum.config import (
        CodebookSumConfig,
        DeltaConfig,
        SumTableTrainConfig,
    )

    yield ComponentSpec(
        kind=Kind.LIKELIHOOD,
        name="codebook-sum",
        config=CodebookSumConfig,
        factory="lqsep.plugins.codebook_sum.factory:build_likelihood",
        summary="Gaussian around the quantised sum of two codes (LQ-VAE)",
        api_version=1,
        trainer="lqsep.plugins.codebook_sum.train:train_table",
        train_config=SumTableTrainConfig,
        needs_data=False,
    )
    yield ComponentSpec(
        kind=Kind.LIKELIHOOD,
        name="delta",
        config=DeltaConfig,
        factory="lqsep.plugins.codebook_sum.factory:build_delta",
        summary="Pairs of codes whose quantised sum is the mixture's code, all equally likely",
        api_version=1,
        trainer="lqsep.plugins.codebook_sum.train:train_table",
        train_config=SumTableTrainConfig,
        needs_data=False,
    )
