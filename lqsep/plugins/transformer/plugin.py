"""Declares the transformer prior."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.transformer.config import TransformerConfig
    from lqsep.plugins.transformer.train_config import TransformerTrainConfig

    yield ComponentSpec(
        kind=Kind.PRIOR,
        name="transformer",
        config=TransformerConfig,
        factory="lqsep.plugins.transformer.factory:build_prior",
        summary="Transformer with factored or dense attention over the codec's code vectors",
        api_version=1,
        trainer="lqsep.plugins.transformer.train:train_prior",
        train_config=TransformerTrainConfig,
    )
