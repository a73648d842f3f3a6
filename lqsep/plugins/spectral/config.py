"""Settings of the codec ``spectral-vq`` and its trainer."""

from __future__ import annotations

from pydantic import Field, model_validator

from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.training.settings import ReadingSettings, VariationSettings


class SpectralConfig(ComponentConfig):
    """Sizes of the spectra and of the codebooks, and where the codebooks are."""

    type: str = "spectral-vq"
    checkpoint: str = Field(
        default="codec.safetensors", description="Codebooks, a file in the model's directory."
    )
    sample_rate: int = Field(default=22050, ge=1000, le=768_000, description="Hz.")
    n_fft: int = Field(
        default=2048,
        ge=4,
        le=1 << 20,
        multiple_of=2,
        description="Samples in a window of the spectra.",
    )
    hop_length: int = Field(
        default=512,
        ge=1,
        le=1 << 20,
        description="Samples per code frame; at most half a window.",
    )
    n_bands: int = Field(
        default=96, ge=2, le=4096, description="Bands in which spectra are compared."
    )
    linear_hz: float = Field(
        default=700.0,
        ge=0,
        allow_inf_nan=False,
        description="Every bin below is a band by itself; above, bands are logarithmic.",
    )
    floor_db: float = Field(
        default=60.0,
        gt=0,
        allow_inf_nan=False,
        description="Powers this far below those of white noise of RMS 1 count as silence.",
    )
    codebook_size: int = Field(
        default=256, ge=2, le=65_536, description="Codes per source; the first one is silence."
    )
    level: float | None = Field(
        default=0.0707,
        gt=0,
        allow_inf_nan=False,
        description="RMS to which a mixture is brought before encoding (gain at most 40 dB); "
        "none leaves it as it is.",
    )

    @model_validator(mode="after")
    def _windows_overlap(self) -> SpectralConfig:
        if 2 * self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length must be at most half of n_fft ({self.n_fft // 2}), got "
                f"{self.hop_length}"
            )
        return self


class SpectralTrainConfig(ReadingSettings, VariationSettings):
    """Of the clustering; the sizes belong to the codec."""

    versions: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="Times every track is used; all but the first are shifted by less than a "
        "frame and changed in level",
    )
    gain_db: float = Field(
        default=6.0,
        ge=0,
        allow_inf_nan=False,
        description="Random change of level of those versions, plus or minus, dB",
    )
    iterations: int = Field(default=20, ge=1, le=10_000, description="Rounds of k-means per source")
    max_frames: int = Field(
        default=200_000,
        ge=1,
        le=1_000_000_000,
        description="Frames per source that are clustered, drawn among all; all are counted",
    )
    pseudo_frames: float = Field(
        default=8.0,
        ge=0,
        allow_inf_nan=False,
        description="Frames' worth of the pooled variance in the variance of every code",
    )
