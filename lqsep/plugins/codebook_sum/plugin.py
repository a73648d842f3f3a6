"""Declares the likelihood ``codebook-sum``."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.spec import ComponentSpec, Kind, hookimpl
from lqsep.plugins.codebook_sum.config import CodebookSumConfig


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    yield ComponentSpec(
        kind=Kind.LIKELIHOOD,
        name="codebook-sum",
        config=CodebookSumConfig,
        factory="lqsep.plugins.codebook_sum.factory:build_likelihood",
        summary="Gaussian around the quantised sum of two codes (LQ-VAE)",
        api_version=1,
    )
