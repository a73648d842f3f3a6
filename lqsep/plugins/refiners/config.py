"""Settings of the refiners."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lqsep.core.components.component_config import ComponentConfig


class WienerConfig(ComponentConfig):
    """Soft masks on the mixture's spectrum."""

    type: str = "wiener"
    exponent: float = Field(
        2.0, gt=0, le=8, description="Of the magnitudes: 2 compares powers, more is harder."
    )
    window_s: float = Field(
        2048 / 22_050, gt=0, le=1, description="Length of the transform's window in seconds."
    )
    rounds: int = Field(
        16,
        ge=0,
        le=100,
        description="Times that the spectra of the codes are fitted to the mixture, where a codec "
        "has spectra.",
    )
    spatial: bool = Field(
        True,
        description="Tell two sources apart by where they come from too, where the mixture has "
        "several channels.",
    )


class ConsistencyConfig(ComponentConfig):
    """Shares out what the stems leave over of the mixture."""

    type: str = "consistency"
    share: Literal["equal", "energy"] = Field(
        "equal", description="Equal parts, or parts in proportion to the stems' energies."
    )
