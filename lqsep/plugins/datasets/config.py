"""Settings of the data sets."""

from __future__ import annotations

from pydantic import Field

from lqsep.core.components.component_config import ComponentConfig


class _FoldersConfig(ComponentConfig):
    root: str = Field(".", description="Folder of the data set, relative to the configuration.")
    split: str | None = Field(
        None, description="Name of the split's folder; without it there is no such folder level."
    )
    sources: tuple[str, ...] = Field(
        (), description="Names, in order; default: all that are found, in alphabetical order."
    )


class StemFoldersConfig(_FoldersConfig):
    """Files ``<source>/<split>/<track>.wav``, paired by name."""

    type: str = "stem-folders"


class TrackFoldersConfig(_FoldersConfig):
    """Files ``<split>/<track>/<source>.wav``.

    A ``mixture.wav`` beside them is the mixture where ``sources`` are all stems of the track.
    """

    type: str = "track-folders"


class SlakhConfig(ComponentConfig):
    """Slakh2100: ``<split>/TrackXXXXX/{metadata.yaml,stems/SXX.flac}``, summed by instrument."""

    type: str = "slakh"
    root: str = Field(".", description="Folder of the data set, relative to the configuration.")
    split: str | None = Field(
        None, description="train, validation, test or omitted; None: tracks lie in root itself."
    )
    sources: tuple[str, ...] = Field(
        ("drums", "bass"),
        min_length=1,
        description="Names, in order; instrument classes by default.",
    )
    classes: dict[str, tuple[str, ...]] = Field(
        {},
        description="Instrument classes of a source, as metadata.yaml names them; default: the "
        "class of the source's own name.",
    )


class SyntheticConfig(ComponentConfig):
    """Made-up sounds: ``drums`` or ``clicks``, ``bass`` or ``tones``."""

    type: str = "synthetic"
    sources: tuple[str, ...] = Field(
        ("drums", "bass"), min_length=1, description="Among drums, clicks, bass, tones."
    )
    n_tracks: int = Field(8, ge=1, le=1_000_000, description="Number of tracks.")
    duration_s: float = Field(4.0, gt=0, le=1e5, description="Length of every track.")
    sample_rate: int = Field(22_050, ge=1000, le=768_000, description="Hz.")
    channels: int = Field(1, ge=1, le=2, description="1 is mono, 2 is stereo.")
    seed: int = Field(0, ge=0, description="Another seed gives other tracks.")
