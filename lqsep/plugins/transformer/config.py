"""Settings of the transformer prior."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lqsep.core.components.component_config import ComponentConfig


class TransformerConfig(ComponentConfig):
    """Sizes of the network and where its weights are."""

    type: str = "transformer"
    checkpoint: str | None = Field(
        default=None,
        description="Weights file beside the configuration; unset: prior.<source>.safetensors",
    )
    width: int = Field(default=256, gt=0, le=65_536, description="Size of the residual stream")
    depth: int = Field(default=6, gt=0, le=1024, description="Number of layers")
    heads: int = Field(default=4, gt=0, le=1024, description="Attention heads per layer")
    max_frames: int = Field(
        default=512, gt=0, le=1_000_000, description="Longest context in code frames"
    )
    attention: Literal["factored", "dense"] = Field(
        default="factored",
        description="Row, column and previous-row attention in turn, or all earlier frames",
    )
    blocks: int = Field(
        default=16,
        gt=0,
        le=1_000_000,
        description="Rows that factored attention cuts the context into",
    )
    m_attn: float = Field(
        default=0.25, gt=0, le=64, description="Size of queries, keys and values, in widths"
    )
    m_mlp: float = Field(default=1.0, gt=0, le=64, description="Hidden size of the MLP, in widths")
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Of embeddings, attention and MLP outputs, in training only",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> TransformerConfig:
        inner = int(self.m_attn * self.width)
        if inner == 0 or inner % self.heads:
            raise ValueError(
                f"m_attn x width = {inner} must be a positive multiple of heads = {self.heads}"
            )
        if int(self.m_mlp * self.width) == 0:
            raise ValueError(f"m_mlp x width must be at least 1, got {self.m_mlp * self.width:g}")
        if self.attention == "factored" and self.max_frames % self.blocks:
            raise ValueError(
                f"max_frames = {self.max_frames} must be a multiple of blocks = {self.blocks}"
            )
        return self
