"""Settings of the selectors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lqsep.core.components.component_config import ComponentConfig


class RejectionConfig(ComponentConfig):
    """Picks one candidate per source among all combinations of candidates."""

    type: str = "rejection"
    mode: Literal["marginal", "pair"] = Field(
        "marginal",
        description="Best candidate of each source by itself, or the best combination.",
    )


class BestConfig(ComponentConfig):
    """Picks the candidate of the highest log posterior."""

    type: str = "best"


class MeanConfig(ComponentConfig):
    """Weighs all candidates."""

    type: str = "mean"
    weighting: Literal["uniform", "evidence"] = Field(
        "uniform",
        description="Equal weights, right for draws from the posterior itself; or importance "
        "weights, for draws made frame by frame without looking ahead.",
    )
