"""Configuration of the likelihood ``log-sum``."""

from __future__ import annotations

from pydantic import Field

from lqsep.core.components.component_config import ComponentConfig


class LogSumConfig(ComponentConfig):
    """How far the codes' spectra are trusted, and how far they may be equalised."""

    type: str = "log-sum"
    temper: float = Field(
        default=0.12,
        gt=0,
        allow_inf_nan=False,
        description="Factor of the log-likelihood; below 1 as neighbouring frames and bands go "
        "together.",
    )
    residual_variance: float = Field(
        default=0.15,
        gt=0,
        allow_inf_nan=False,
        description="Added to the codes' variances, in squared natural logs of power.",
    )
    equaliser_global_db: float = Field(
        default=4.0,
        ge=0,
        allow_inf_nan=False,
        description="Standard deviation of a source's level, when the likelihood is adapted to a "
        "mixture.",
    )
    equaliser_smooth_db: float = Field(
        default=4.0,
        ge=0,
        allow_inf_nan=False,
        description="Standard deviation of a curve that changes over an octave, likewise.",
    )
    equaliser_white_db: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Standard deviation of every band by itself, likewise.",
    )
