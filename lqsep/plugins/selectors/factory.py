"""Builds the selectors from their settings."""

from __future__ import annotations

from lqsep.core.components.assemble import BuildContext
from lqsep.plugins.selectors.best import BestSelector
from lqsep.plugins.selectors.config import BestConfig, MeanConfig, RejectionConfig
from lqsep.plugins.selectors.mean import MeanSelector
from lqsep.plugins.selectors.rejection import RejectionSelector


def build_rejection(config: RejectionConfig, context: BuildContext) -> RejectionSelector:
    """All combinations of candidates, by prior and wave error."""
    return RejectionSelector(config.mode)


def build_best(config: BestConfig, context: BuildContext) -> BestSelector:
    """The most probable candidate."""
    return BestSelector()


def build_mean(config: MeanConfig, context: BuildContext) -> MeanSelector:
    """The mean over candidates."""
    return MeanSelector(config.weighting)
