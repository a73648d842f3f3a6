"""Declares the samplers."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.samplers.config import (
        AncestralConfig,
        BeamConfig,
        ForwardBackwardConfig,
        RejectionConfig,
        SMCConfig,
    )

    yield ComponentSpec(
        kind=Kind.SAMPLER,
        name="ancestral",
        config=AncestralConfig,
        factory="lqsep.plugins.samplers.factory:build_ancestral",
        summary="Draws joint codes frame by frame, exactly, several candidates in parallel",
        api_version=1,
    )
    yield ComponentSpec(
        kind=Kind.SAMPLER,
        name="beam",
        config=BeamConfig,
        factory="lqsep.plugins.samplers.factory:build_beam",
        summary="Keeps the most probable joint code sequences; deterministic",
        api_version=1,
    )
    yield ComponentSpec(
        kind=Kind.SAMPLER,
        name="forward-backward",
        config=ForwardBackwardConfig,
        factory="lqsep.plugins.samplers.factory:build_forward_backward",
        summary="Draws whole sequences exactly, with marginals; Markov priors, small codebooks",
        api_version=1,
    )
    yield ComponentSpec(
        kind=Kind.SAMPLER,
        name="rejection",
        config=RejectionConfig,
        factory="lqsep.plugins.samplers.factory:build_rejection",
        summary="Draws whole sequences from the posterior: exact while enough are accepted",
        api_version=1,
    )
    yield ComponentSpec(
        kind=Kind.SAMPLER,
        name="smc",
        config=SMCConfig,
        factory="lqsep.plugins.samplers.factory:build_smc",
        summary="Particle filter: draws that are resampled towards what explains the mixture",
        api_version=1,
    )
