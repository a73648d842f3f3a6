"""Configuration of the likelihood ``gaussian-sum``."""

from __future__ import annotations

from pydantic import Field

from lqsep.core.components.component_config import ComponentConfig


class GaussianSumConfig(ComponentConfig):
    """Where the measured noise is stored, and how far it is trusted."""

    type: str = "gaussian-sum"
    temperature: float = Field(
        default=1.25,
        gt=0,
        allow_inf_nan=False,
        description="Divides the log-likelihood; above 1 for errors of neighbouring frames that "
        "go together.",
    )
    calibration: str = Field(
        default="calibration.safetensors",
        description="File with mean and covariance of the noise, written by `lqsep sums "
        "--calibrate`, relative to the configuration.",
    )
