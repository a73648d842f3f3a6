"""Builds the refiners from their settings."""

from __future__ import annotations

from lqsep.core.components.assemble import BuildContext
from lqsep.plugins.refiners.config import ConsistencyConfig, WienerConfig
from lqsep.plugins.refiners.consistency import ConsistencyRefiner
from lqsep.plugins.refiners.wiener import WienerRefiner


def build_wiener(config: WienerConfig, context: BuildContext) -> WienerRefiner:
    """Soft masks."""
    return WienerRefiner(
        exponent=config.exponent,
        window_s=config.window_s,
        rounds=config.rounds,
        spatial=config.spatial,
    )


def build_consistency(config: ConsistencyConfig, context: BuildContext) -> ConsistencyRefiner:
    """Stems that sum to the mixture."""
    return ConsistencyRefiner(config.share)
