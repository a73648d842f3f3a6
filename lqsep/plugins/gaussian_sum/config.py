"""Settings of the likelihood ``gaussian-sum`` and its trainer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.training.settings import ReadingSettings


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
        "--calibrate`, in the model's directory.",
    )


class CalibrationTrainConfig(ReadingSettings):
    """How the noise is measured: on the validation data, or else on those for training."""

    covariance: Literal["full", "diagonal"] = Field(
        default="diagonal",
        description="Variances alone, or of all pairs of dimensions as well.",
    )
    clips: int = Field(default=100, ge=1, description="Mixtures to measure on.")
    clip_s: float = Field(
        default=4.0, gt=0, allow_inf_nan=False, description="Length of each, seconds."
    )
