"""Builds the samplers from their settings."""

from __future__ import annotations

from lqsep.core.components.assemble import BuildContext
from lqsep.core.inference.filters import Filters
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.plugins.samplers.config import (
    AncestralConfig,
    BeamConfig,
    FilterConfig,
    ForwardBackwardConfig,
    RejectionConfig,
    SMCConfig,
)
from lqsep.plugins.samplers.forward_backward import ForwardBackwardSampler
from lqsep.plugins.samplers.rejection import RejectionSampler
from lqsep.plugins.samplers.smc import SMCSampler


def build_ancestral(config: AncestralConfig, context: BuildContext) -> AncestralSampler:
    """An `AncestralSampler`."""
    return AncestralSampler(
        n_candidates=config.n_candidates,
        batch_size=config.batch_size,
        filters=_filters(config),
    )


def build_beam(config: BeamConfig, context: BuildContext) -> BeamSampler:
    """A `BeamSampler`."""
    return BeamSampler(beam_width=config.beam_width, filters=_filters(config))


def build_forward_backward(
    config: ForwardBackwardConfig, context: BuildContext
) -> ForwardBackwardSampler:
    """A `ForwardBackwardSampler`."""
    return ForwardBackwardSampler(
        n_candidates=config.n_candidates,
        adapt_rounds=config.adapt_rounds,
        adapt_frames=config.adapt_frames,
        prune=config.prune,
        block_frames=config.block_frames,
    )


def build_rejection(config: RejectionConfig, context: BuildContext) -> RejectionSampler:
    """A `RejectionSampler`."""
    return RejectionSampler(
        n_candidates=config.n_candidates,
        max_rounds=config.max_rounds,
        batch_size=config.batch_size,
        filters=_filters(config),
    )


def build_smc(config: SMCConfig, context: BuildContext) -> SMCSampler:
    """An `SMCSampler`."""
    return SMCSampler(
        n_candidates=config.n_candidates,
        n_particles=config.n_particles,
        n_islands=config.n_islands,
        resample_below=config.resample_below,
        batch_size=config.batch_size,
        filters=_filters(config),
    )


def _filters(config: FilterConfig) -> Filters:
    return Filters(
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        joint_top_k=config.joint_top_k,
        joint_top_p=config.joint_top_p,
    )
