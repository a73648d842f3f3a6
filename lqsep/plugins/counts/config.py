"""Settings of the likelihood ``counts`` and its trainer."""

from __future__ import annotations

from pydantic import Field, field_validator

from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.training.settings import ReadingSettings


class CountsConfig(ComponentConfig):
    """Where the counts are stored, and how they become probabilities."""

    type: str = "counts"
    counts: str = Field(
        default="counts.safetensors",
        description="File written by `lqsep counts`, or an .npz of LASS (arrays of the `sparse` "
        "library), in the model's directory.",
    )
    smoothing: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="Share of the probability that is spread evenly over all codes of the "
        "mixture; what was never seen keeps no more than that.",
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Factor of the log-likelihood against the priors; LASS's lambda.",
    )
    axes: tuple[int, int, int] = Field(
        default=(0, 1, 2),
        description="Axes of an .npz that hold the codes of source 0, of source 1 and of the "
        "mixture.",
    )

    @field_validator("axes")
    @classmethod
    def _permutation(cls, axes: tuple[int, int, int]) -> tuple[int, int, int]:
        if sorted(axes) != [0, 1, 2]:
            raise ValueError(f"expected 0, 1 and 2 in some order, got {list(axes)}")
        return axes


class CountsTrainConfig(ReadingSettings):
    """How the codes of mixtures are counted."""

    passes: int = Field(default=4, ge=1, description="How often the data set is gone through.")
    clip_s: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Length of the clips that are mixed, seconds; unset: that of the pipeline's "
        "segments.",
    )
