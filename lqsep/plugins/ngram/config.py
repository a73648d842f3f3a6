"""Settings of the n-gram prior and its trainer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lqsep.core.spec import ComponentConfig


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
        default=8.0, gt=0, description="Pseudo-counts that the next lower order contributes"
    )


class NgramTrainConfig(BaseModel):
    """How codes are made from audio; counting itself has nothing to set."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    versions: int = Field(
        default=4,
        ge=1,
        description="Times every track is encoded; all but the first are shifted by less than a "
        "frame, which gives other codes for the same sound",
    )
    gain_db: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Random change of level of those versions, plus or minus, dB",
    )
    eq_db: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Height of a random equaliser's tilt and bells in those versions, dB",
    )
    semitones: float = Field(
        default=0.0,
        ge=0,
        le=24,
        description="Random change of pitch (and tempo) of those versions, plus or minus",
    )
