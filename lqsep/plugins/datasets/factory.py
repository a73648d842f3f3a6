"""Builds the data sets from their settings."""

from __future__ import annotations

from lqsep.core.components.assemble import BuildContext
from lqsep.plugins.datasets.config import (
    SlakhConfig,
    StemFoldersConfig,
    SyntheticConfig,
    TrackFoldersConfig,
)
from lqsep.plugins.datasets.folders import FolderDataset
from lqsep.plugins.datasets.layouts import find_stem_folders, find_track_folders
from lqsep.plugins.datasets.slakh import SlakhDataset, find_slakh_tracks
from lqsep.plugins.datasets.synthetic import SyntheticDataset


def build_stem_folders(config: StemFoldersConfig, context: BuildContext) -> FolderDataset:
    """A data set with one folder per source."""
    root = context.path(config.root)
    return FolderDataset(find_stem_folders(root, config.split, config.sources))


def build_track_folders(config: TrackFoldersConfig, context: BuildContext) -> FolderDataset:
    """A data set with one folder per track."""
    root = context.path(config.root)
    return FolderDataset(find_track_folders(root, config.split, config.sources))


def build_slakh(config: SlakhConfig, context: BuildContext) -> SlakhDataset:
    """Slakh2100, or one of its splits."""
    root = context.path(config.root)
    return SlakhDataset(find_slakh_tracks(root, config.split, config.sources, config.classes))


def build_synthetic(config: SyntheticConfig, context: BuildContext) -> SyntheticDataset:
    """A data set out of nothing."""
    return SyntheticDataset(
        sources=config.sources,
        n_tracks=config.n_tracks,
        duration_s=config.duration_s,
        sample_rate=config.sample_rate,
        channels=config.channels,
        seed=config.seed,
    )
