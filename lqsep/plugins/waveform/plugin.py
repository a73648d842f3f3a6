"""Declares the likelihood ``waveform``."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.waveform.config import WaveformConfig

    yield ComponentSpec(
        kind=Kind.LIKELIHOOD,
        name="waveform",
        config=WaveformConfig,
        factory="lqsep.plugins.waveform.factory:build_likelihood",
        summary="Gaussian around the sum of decoded candidates, in the time domain (LQ-VAE)",
        api_version=1,
    )
