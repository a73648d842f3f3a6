"""Declares the data sets."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import CommandSpec, ComponentSpec, Kind, hookimpl


@hookimpl
def lqsep_components() -> Iterable[ComponentSpec]:
    # Here, so that asking for commands builds no settings.
    from lqsep.plugins.datasets.config import (
        SlakhConfig,
        StemFoldersConfig,
        SyntheticConfig,
        TrackFoldersConfig,
    )

    yield ComponentSpec(
        kind=Kind.DATASET,
        name="stem-folders",
        config=StemFoldersConfig,
        factory="lqsep.plugins.datasets.factory:build_stem_folders",
        summary="Files <source>/<split>/<track>.wav, paired by name",
        api_version=1,
    )
    yield ComponentSpec(
        kind=Kind.DATASET,
        name="track-folders",
        config=TrackFoldersConfig,
        factory="lqsep.plugins.datasets.factory:build_track_folders",
        summary="Files <split>/<track>/<source>.wav, such as MUSDB18-HQ",
        api_version=1,
    )
    yield ComponentSpec(
        kind=Kind.DATASET,
        name="slakh",
        config=SlakhConfig,
        factory="lqsep.plugins.datasets.factory:build_slakh",
        summary="Slakh2100, stems summed by instrument class",
        api_version=1,
    )
    yield ComponentSpec(
        kind=Kind.DATASET,
        name="synthetic",
        config=SyntheticConfig,
        factory="lqsep.plugins.datasets.factory:build_synthetic",
        summary="Made-up tones and clicks, the same for the same seed",
        api_version=1,
    )


@hookimpl
def lqsep_commands() -> Iterable[CommandSpec]:
    yield CommandSpec(
        path="data slakh",
        target="lqsep.plugins.datasets.commands.slakh:slakh",
        summary="Write Slakh2100 as one mono file per source and track.",
    )
    yield CommandSpec(
        path="data check",
        target="lqsep.plugins.datasets.commands.check:check",
        summary="Count and examine the files of a data set.",
    )
