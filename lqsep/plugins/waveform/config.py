"""Configuration of the likelihood ``waveform``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lqsep.core.components.component_config import ComponentConfig


class WaveformConfig(ComponentConfig):
    """How far the mixture may lie from the decoded sum, and what is decoded."""

    type: str = "waveform"
    sigma: float = Field(
        default=0.1,
        gt=0,
        allow_inf_nan=False,
        description="Standard deviation per sample, in units of the codec's decoded waves.",
    )
    window: Literal["constant", "increment"] = Field(
        default="constant",
        description="Codes decoded before a candidate: always the last `context`, or those since "
        "the last multiple of `context`.",
    )
    context: int = Field(
        default=8,
        ge=1,
        le=1_000_000,
        description="Frames of the window; more are slower and truer.",
    )
    batch_size: int = Field(
        default=256,
        ge=1,
        le=1 << 24,
        description="Candidates decoded at a time; halved when memory runs out.",
    )
