"""Settings of the transformer prior's trainer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lqsep.core.training.settings import AudioLoopSettings


class TransformerTrainConfig(AudioLoopSettings):
    """The loop's settings and how codes are made from audio."""

    batch_size: int = Field(default=16, ge=1, description="Windows of the context per step.")
    codes: Literal["disk", "memory", "audio"] = Field(
        default="disk",
        description="Where codes come from: encoded once and kept in the model directory, encoded "
        "anew by every run, or from a random clip of the audio at every step.",
    )
    versions: int = Field(
        default=4,
        ge=1,
        description="Times every track is encoded, but for audio; all but the first are shifted "
        "by less than a frame, which gives other codes for the same sound, and get a random gain.",
    )
    gain_db: float = Field(
        default=0.0, ge=0, description="Random gain of those versions or clips, plus or minus, dB."
    )
    validation_windows: int = Field(
        default=32, ge=1, description="Windows of the context in a validation."
    )
    recompute: bool = Field(
        default=False,
        description="Keep no activations of the layers but compute them again in the backward "
        "pass: much less memory for a third more time.",
    )
