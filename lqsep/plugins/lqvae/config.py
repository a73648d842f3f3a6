"""Configuration of the codec ``lq-vae``: its architecture and its weights."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from lqsep.core.components.component_config import ComponentConfig

Stages = Annotated[int, Field(ge=1, le=64)]


class LQVAEConfig(ComponentConfig):
    """Sizes default to the published model's; separation happens on the last (coarsest) level."""

    type: str = "lq-vae"
    checkpoint: str = Field(
        default="codec.safetensors", description="Weights, a file in the model's directory."
    )
    sample_rate: int = Field(default=22050, ge=1000, le=768_000, description="Hz.")
    downs_t: tuple[Stages, ...] = Field(
        default=(2, 2, 2), description="Shortening stages added by each level."
    )
    strides_t: tuple[Stages, ...] = Field(
        default=(2, 2, 2), description="Factor of each of those stages, per level; even."
    )
    multipliers: tuple[Stages, ...] = Field(
        default=(2, 1, 1), description="Factor on width and depth, per level."
    )
    width: int = Field(default=32, ge=1, le=16_384, description="Channels inside the blocks.")
    depth: int = Field(default=4, ge=1, le=256, description="Residual units per stage.")
    dilation_growth: int = Field(
        default=3,
        ge=1,
        le=16,
        description="Factor between the dilations of successive residual units.",
    )
    embedding_dim: int = Field(default=64, ge=1, le=16_384, description="Size of a latent vector.")
    codebook_size: int = Field(default=2048, ge=2, le=65_536, description="Codes per level.")
    level: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="RMS to which a mixture is brought before encoding (gain at most 40 dB); "
        "none leaves it as it is.",
    )

    @model_validator(mode="after")
    def _one_entry_per_level(self) -> LQVAEConfig:
        sizes = {len(self.downs_t), len(self.strides_t), len(self.multipliers)}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(
                "downs_t, strides_t and multipliers need one entry per level, got "
                f"{len(self.downs_t)}, {len(self.strides_t)} and {len(self.multipliers)}"
            )
        return self
