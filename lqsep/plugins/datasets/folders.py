"""Tracks made of files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lqsep.core.audio.files import AudioReader, audio_info
from lqsep.core.errors import AudioError
from lqsep.core.interfaces.dataset import Dataset, Track, TrackInfo
from lqsep.plugins.datasets.layouts import TrackFiles

logger = logging.getLogger(__name__)


class FolderDataset(Dataset):
    """Reads from files what is asked for, and no more.

    A source of several files is their sum, in float32. Files of a track that are shorter than its
    longest are continued with silence.

    Args:
        tracks: The files; every track has the same sources.
    """

    def __init__(self, tracks: Sequence[TrackFiles]) -> None:
        if not tracks:
            raise AudioError("data set: expected at least one track.")
        self.sources = tuple(tracks[0].stems)
        self._tracks = tuple(tracks)
        self._infos: dict[str, TrackInfo] = {}

    def __len__(self) -> int:
        return len(self._tracks)

    def __getitem__(self, index: int) -> Track:
        track = self._tracks[index]
        info = self.info(index)
        stems = {source: _sum(paths, 0, info.n_samples) for source, paths in track.stems.items()}
        mixture = _read(track.mixture, 0, info.n_samples) if track.mixture else None
        return Track(info.name, info.sample_rate, mixture, stems)

    def name(self, index: int) -> str:
        return self._tracks[index].name

    def info(self, index: int) -> TrackInfo:
        """From the files' headers.

        Raises:
            AudioError: A file cannot be read, or the files differ in sample rate or channels.
        """
        track = self._tracks[index]
        if track.name not in self._infos:
            self._infos[track.name] = _common_info(track)
        return self._infos[track.name]

    def stem(self, index: int, source: str, start: int = 0, stop: int | None = None) -> Track:
        """Samples ``start`` to ``stop`` of one stem, the end of the track at the latest.

        Raises:
            AudioError: The file cannot be read, or the range holds no sample.
            KeyError: There is no such source.
        """
        info = self.info(index)
        stop = info.n_samples if stop is None else min(stop, info.n_samples)
        wave = _sum(self._tracks[index].stems[source], start, stop)
        return Track(info.name, info.sample_rate, None, {source: wave})


def _common_info(track: TrackFiles) -> TrackInfo:
    paths = [path for stem in track.stems.values() for path in stem]
    if track.mixture:
        paths.append(track.mixture)
    infos = [audio_info(path) for path in paths]
    for info in infos[1:]:
        if (info.sample_rate, info.channels) != (infos[0].sample_rate, infos[0].channels):
            raise AudioError(
                f"data set: the files of track {track.name!r} differ: "
                f"{infos[0].path} has {infos[0].sample_rate} Hz and {infos[0].channels} channels, "
                f"{info.path} {info.sample_rate} Hz and {info.channels}. Convert one of them."
            )
    for info in infos:
        for warning in info.warnings:
            logger.warning("%s: %s", info.path, warning)
    n_samples = max(info.n_samples for info in infos)
    return TrackInfo(track.name, infos[0].sample_rate, n_samples)


def _sum(paths: Sequence[Path], start: int, stop: int) -> npt.NDArray[np.float32]:
    wave = _read(paths[0], start, stop)
    for path in paths[1:]:
        wave += _read(path, start, stop)
    return wave


def _read(path: Path, start: int, stop: int) -> npt.NDArray[np.float32]:
    """Samples ``start`` to ``stop``; silence where the file has ended."""
    if not 0 <= start < stop:
        raise AudioError(f"cannot read samples {start} to {stop} of {path}: no such range.")
    with AudioReader(path) as reader:
        end = min(stop, reader.info.n_samples)
        if start >= end:
            return np.zeros((reader.info.channels, stop - start), np.float32)
        wave = reader.read(start, end)
    return np.pad(wave, ((0, 0), (0, stop - end))) if end < stop else wave
