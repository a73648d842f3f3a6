"""Settings of the shared training loop; light, so that plugins can declare them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class VariationSettings(BaseModel):
    """How far varied copies of training audio differ, see `lqsep.core.corpus.variation`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

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


class LoopSettings(BaseModel):
    """What `lqsep.core.training.loop.fit` needs to know; trainers extend it with their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    steps: int = Field(default=10_000, ge=1, description="Optimiser steps of the whole run.")
    max_minutes: float | None = Field(
        default=None,
        gt=0,
        description="Stop after this much training time, resumed parts included; the learning "
        "rate then follows the clock where it is ahead of the steps.",
    )
    learning_rate: float = Field(default=3e-4, gt=0, description="Peak learning rate of Adam.")
    warmup_steps: int = Field(default=100, ge=0, description="Steps of linear warm-up.")
    schedule: Literal["constant", "cosine"] = Field(
        default="cosine", description="Course of the learning rate after the warm-up."
    )
    final_learning_rate: float = Field(
        default=0.05, ge=0, le=1, description="End of the cosine, as a share of the peak."
    )
    optimizer: Literal["adamw", "jukebox-adam"] = Field(
        default="adamw",
        description="torch's AdamW, or Adam as the reference trains with it.",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Decoupled weight decay.")
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Validate and keep a moving average of the weights with this decay per step; "
        "none keeps the weights themselves.",
    )
    clip_norm: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Arithmetic of the networks; auto is bfloat16 on a GPU, float32 on a CPU. "
        "float16 scales the loss, so that small gradients are not lost.",
    )
    max_loss_ratio: float | None = Field(
        default=100.0,
        gt=1,
        description="Stop when the running mean of the loss exceeds its smallest value so far this "
        "many times; none never does.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop after so many validations without a better one; none never does.",
    )
    trackers: tuple[str, ...] = Field(
        default=("tensorboard",),
        description="Where figures go besides the JSON lines: any tracker of Accelerate, by name.",
    )
    log_sounds: bool = Field(
        default=True, description="Let TensorBoard have sounds to listen to at every validation."
    )
    log_every: int = Field(default=20, ge=1, description="Steps between reports.")
    validate_every: int = Field(default=500, ge=1, description="Steps between validations.")
    checkpoint_every: int = Field(default=500, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(
        default=2, ge=1, description="How many of the last checkpoints stay."
    )


class ReadingSettings(BaseModel):
    """Which tracks a training may do without, see `lqsep.core.corpus.audio_pool`."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    min_duration: float = Field(
        default=0.0, ge=0, description="Tracks shorter than this are left out, seconds."
    )
    max_unreadable: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Share of the tracks that may be unreadable; they are left out and named.",
    )


class AudioLoopSettings(ReadingSettings, LoopSettings):
    """The loop's settings and which audio it may do without."""
