"""Settings of the n-gram prior and its trainer."""

from __future__ import annotations

from pydantic import Field

from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.training.settings import ReadingSettings, VariationSettings


class NgramConfig(ComponentConfig):
    """Order, smoothing and where the counts are."""

    type: str = "ngram"
    checkpoint: str | None = Field(
        default=None,
        description="Counts beside the configuration; unset: prior.<source>.safetensors",
    )
    order: int = Field(
        default=2, ge=1, le=3, description="Codes in an n-gram: 2 sees one earlier code"
    )
    smoothing: float = Field(
        default=8.0, gt=0, le=1e9, description="Pseudo-counts that the next lower order contributes"
    )
    silence_frames: float | None = Field(
        default=None,
        gt=1,
        allow_inf_nan=False,
        description="Frames that a run of code 0, silence in codecs of log spectra, lasts on "
        "average at least; unset: as counted",
    )


class NgramTrainConfig(ReadingSettings, VariationSettings):
    """How codes are made from audio; counting itself has nothing to set."""

    versions: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Times every track is encoded; all but the first are shifted by less than a "
        "frame, which gives other codes for the same sound",
    )
