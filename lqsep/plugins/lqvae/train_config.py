"""Settings of the LQ-VAE's trainer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lqsep.core.training.settings import AudioLoopSettings


class LQVAETrainConfig(AudioLoopSettings):
    """Loss weights default to the published recipe; the codebook's settings keep every code alive
    in short runs, where the published ones (0.99, threshold 1) lose most."""

    batch_size: int = Field(
        default=16,
        ge=2,
        multiple_of=2,
        description="Clips per step; the first half is paired with the second.",
    )
    clip_samples: int = Field(
        default=16384, ge=1, description="Samples per clip; rounded up to whole frames."
    )
    gain_db: float = Field(
        default=0.0, ge=0, description="Clips get a random gain of plus or minus this much, dB."
    )
    channel_blend: bool = Field(
        default=False,
        description="Weigh left and right of a stereo clip at random instead of equally.",
    )
    pairs: Literal["sources", "any"] = Field(
        default="sources",
        description="What the linearisation loss adds up: clips of two sources, or any two clips.",
    )
    pair_gain_db: float = Field(
        default=0.0,
        ge=0,
        description="The gains of every pair are changed at random, each by plus or minus this "
        "much, dB.",
    )
    decay: float = Field(
        default=0.98, ge=0, lt=1, description="Weight of the past in the codebook's averages."
    )
    revival_threshold: float = Field(
        default=0.5, ge=0, description="Codes whose running count is smaller are replaced."
    )
    initial_count: float = Field(
        default=1.0, gt=0, description="Running count of every code at the start."
    )
    l1: float = Field(default=0.0, ge=0, description="Weight of the absolute error.")
    l2: float = Field(default=1.0, ge=0, description="Weight of the squared error.")
    linf: float = Field(default=0.02, ge=0, description="Weight of the largest squared errors.")
    linf_k: int = Field(default=2048, ge=1, description="How many of them.")
    spectral: float = Field(default=0.0, ge=0, description="Weight of the spectral distance.")
    multispectral: float = Field(
        default=1.0, ge=0, description="Weight of the spectral distance at several resolutions."
    )
    commitment: float = Field(default=1.0, ge=0, description="Weight of latents to codes.")
    latent: float = Field(default=1.0, ge=0, description="Weight of the linearisation loss.")
    validation_clips: int = Field(
        default=16, ge=1, description="Fixed clips per source in a validation."
    )
