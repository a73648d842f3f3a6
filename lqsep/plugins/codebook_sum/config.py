"""Configuration of the likelihoods ``codebook-sum`` and ``delta``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lqsep.core.components.component_config import ComponentConfig

# Where `lqsep sums` writes the table, beside model.toml.
SUMS_FILE = "sums.safetensors"


class _TableConfig(ComponentConfig):
    table: str | None = Field(
        default=None,
        description="File with the sums of all pairs of codes, written by `lqsep sums`, in the "
        f"model's directory; none takes {SUMS_FILE} there if it is of the codec, and else "
        "computes them.",
    )


class CodebookSumConfig(_TableConfig):
    """How far the mixture may lie from the quantised sum, and where the sums are stored."""

    type: str = "codebook-sum"
    sigma: float = Field(
        default=0.2,
        gt=0,
        allow_inf_nan=False,
        description="Standard deviation per latent dimension, in units of the codec's latents.",
    )
    target: Literal["quantised", "unquantised"] = Field(
        default="quantised",
        description="What the sum is compared with: the vector of the mixture's code, or the "
        "mixture's latent before quantising.",
    )


class DeltaConfig(_TableConfig):
    """How sure it is that the sum of two codes is the mixture's code."""

    type: str = "delta"
    mass: float = Field(
        default=0.9999,
        gt=0,
        lt=1,
        description="Probability shared by the pairs whose sum is the mixture's code; the rest is "
        "shared by all others.",
    )


class SumTableTrainConfig(BaseModel):
    """The table follows from the codec and the gains: there is nothing to set."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
