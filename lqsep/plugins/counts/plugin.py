"""Declares the likelihood ``counts``."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl
from lqsep.plugins.counts.config import CountsConfig


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    yield ComponentSpec(
        kind=Kind.LIKELIHOOD,
        name="counts",
        config=CountsConfig,
        factory="lqsep.plugins.counts.factory:build_likelihood",
        summary="Frequencies of the mixture's code for every pair of codes (LASS)",
        api_version=1,
    )
