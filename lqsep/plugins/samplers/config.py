"""Settings of the samplers."""

from __future__ import annotations

from pydantic import Field

from lqsep.core.components.component_config import ComponentConfig

# Far beyond any use, and small enough for memory to be asked for.
MOST_CANDIDATES = 1_000_000
MOST_FRAMES = 1_000_000_000
MOST_CODES = 1 << 32


class FilterConfig(ComponentConfig):
    """Which codes may be chosen; see `lqsep.core.inference.filters.Filters`."""

    temperature: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="Divides the priors' log-probabilities"
    )
    top_k: int = Field(
        0,
        ge=0,
        le=MOST_CODES,
        description="Keep this many most probable codes of each prior; 0 keeps all",
    )
    top_p: float = Field(
        1.0, gt=0, le=1, description="Keep each prior's most probable codes up to this probability"
    )
    joint_top_k: int = Field(
        0,
        ge=0,
        le=MOST_CODES,
        description="Keep this many most probable pairs of codes; 0 keeps all",
    )
    joint_top_p: float = Field(
        1.0, gt=0, le=1, description="Keep the most probable pairs of codes up to this probability"
    )


class AncestralConfig(FilterConfig):
    """Ancestral sampling."""

    type: str = "ancestral"
    n_candidates: int = Field(16, ge=1, le=MOST_CANDIDATES, description="Number of draws")
    batch_size: int | None = Field(
        None,
        ge=1,
        le=MOST_CANDIDATES,
        description="Candidates drawn at a time; all of them when not given",
    )


class BeamConfig(FilterConfig):
    """Beam search."""

    type: str = "beam"
    beam_width: int = Field(
        16, ge=1, le=MOST_CANDIDATES, description="Number of sequences kept, and of candidates"
    )


class ForwardBackwardConfig(ComponentConfig):
    """Exact inference over whole sequences."""

    type: str = "forward-backward"
    n_candidates: int = Field(32, ge=1, le=MOST_CANDIDATES, description="Number of draws")
    adapt_rounds: int = Field(
        1,
        ge=0,
        le=8,
        description="Times that a likelihood which can adapts to the mixture, each followed by "
        "another pass",
    )
    adapt_frames: int = Field(
        2048,
        ge=1,
        le=MOST_FRAMES,
        description="Frames at most that it adapts by; of longer inputs four stretches",
    )
    prune: float = Field(
        1e-7,
        ge=0,
        le=1e-2,
        allow_inf_nan=False,
        description="Share of the heaviest code's weight below which codes are left out of a "
        "frame, on CPUs; 0 leaves out none",
    )
    block_frames: int | None = Field(
        None,
        ge=1,
        le=MOST_FRAMES,
        description="Frames whose messages are kept at a time; when not given all of them or, "
        "beyond 256 MB, as few as possible",
    )


class RejectionConfig(FilterConfig):
    """Rejection sampling of whole sequences."""

    type: str = "rejection"
    n_candidates: int = Field(
        16, ge=1, le=MOST_CANDIDATES, description="Number of draws; as many always come out"
    )
    max_rounds: int = Field(
        8,
        ge=1,
        le=1_000_000,
        description="Rounds of proposals before the proposals are resampled by weight",
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=MOST_CANDIDATES,
        description="Proposals per round; as many as candidates when not given",
    )


class SMCConfig(FilterConfig):
    """Sequential Monte Carlo."""

    type: str = "smc"
    n_candidates: int = Field(
        16, ge=1, le=MOST_CANDIDATES, description="Number of draws; as many always come out"
    )
    n_particles: int = Field(32, ge=1, le=MOST_CANDIDATES, description="Particles per island")
    n_islands: int = Field(4, ge=1, le=10_000, description="Independent particle filters")
    resample_below: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Resample an island when its effective sample size falls below this share of "
        "its particles",
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=MOST_CANDIDATES,
        description="Islands run at a time; all of them when not given",
    )
