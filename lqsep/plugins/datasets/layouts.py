"""Which files make up which track: the two folder layouts.

Files that are no audio (``.dur`` caches, playlists) and hidden files are skipped; sound that cannot
be read is skipped too, and logged.
A file or folder named ``mixture`` is the mixture and no source. It is the mixture of *all* stems:
where there are others than the sources asked for, or one source only, it is left aside.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lqsep.core.audio.decoding.content import Kind, kind_of
from lqsep.core.audio.inputs.recognition import Recognition, recognize
from lqsep.core.errors import AudioError, ConfigError

logger = logging.getLogger(__name__)

MIXTURE = "mixture"

# So many tracks are named in an error.
_SHOWN = 3


@dataclass(frozen=True)
class TrackFiles:
    """The files of one track.

    Args:
        stems: By source, in the data set's order; a source is the sum of its files.
        mixture: The sum of the stems; None where there is no such file.
    """

    name: str
    stems: Mapping[str, tuple[Path, ...]]
    mixture: Path | None


def find_stem_folders(
    root: Path, split: str | None = None, sources: Sequence[str] = ()
) -> list[TrackFiles]:
    """Tracks of ``root/<source>/<split>/<track>.wav``, paired by name and sorted.

    Args:
        root: Folder of the data set.
        split: Name of the split; None when there is no such folder level.
        sources: Names, in order; empty: every folder that has the split.

    Raises:
        ConfigError: ``root``, the split or a source is not there.
        AudioError: There are no tracks, or a track lacks a source.
    """
    level = f"{split}/" if split else ""
    layout = f"{root}/<source>/{level}<track>.wav"
    folders = {folder.name: folder / level for folder in visible_folders(root)}
    folders = {name: folder for name, folder in folders.items() if folder.is_dir()}
    if split and not folders:
        raise ConfigError(f"data set: no split {split!r} in {root}; expected {layout}.")
    files = {name: audio_files(folder) for name, folder in folders.items()}
    sources = _checked_sources(sources, (name for name in files if files[name]), layout)
    tracks = {
        track: {name: files[name][track] for name in files if track in files[name]}
        for track in set().union(*(files[source] for source in sources))
    }
    return _complete(tracks, sources, layout)


def find_track_folders(
    root: Path, split: str | None = None, sources: Sequence[str] = ()
) -> list[TrackFiles]:
    """Tracks of ``root/<split>/<track>/<source>.wav``, sorted.

    Args:
        root: Folder of the data set.
        split: Name of the split; None when there is no such folder level.
        sources: Names, in order; empty: all names that occur.

    Raises:
        ConfigError: ``root``, the split or a source is not there.
        AudioError: There are no tracks, or a track lacks a source.
    """
    folder = root / split if split else root
    layout = f"{folder}/<track>/<source>.wav"
    if root.is_dir() and not folder.is_dir():
        there = ", ".join(path.name for path in visible_folders(root)) or "no folder"
        raise ConfigError(f"data set: no split {split!r} in {root}; it has {there}.")
    tracks = {track.name: audio_files(track) for track in visible_folders(folder)}
    tracks = {name: files for name, files in tracks.items() if files}
    sources = _checked_sources(sources, set().union(*tracks.values()), layout)
    return _complete(tracks, sources, layout)


def _complete(
    tracks: Mapping[str, Mapping[str, Path]], sources: Sequence[str], layout: str
) -> list[TrackFiles]:
    """Sorted by name, each with every source."""
    incomplete = {
        name: [source for source in sources if source not in files]
        for name, files in sorted(tracks.items())
        if not all(source in files for source in sources)
    }
    if incomplete:
        shown = "; ".join(
            f"{name} has no {', '.join(missing)}"
            for name, missing in list(incomplete.items())[:_SHOWN]
        )
        more = f" and {len(incomplete) - _SHOWN} more" if len(incomplete) > _SHOWN else ""
        raise AudioError(
            f"data set: {len(incomplete)} of {len(tracks)} tracks lack a source in {layout}: "
            f"{shown}{more}. Add or remove files, or name fewer sources."
        )
    found = set().union(*tracks.values()) - {MIXTURE}
    is_sum = len(sources) > 1 and found == set(sources)
    return [
        TrackFiles(
            name,
            {source: (files[source],) for source in sources},
            files.get(MIXTURE) if is_sum else None,
        )
        for name, files in sorted(tracks.items())
    ]


def visible_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones.

    Raises:
        ConfigError: It is no folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"data set: expected a folder as root, got {folder}.")
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def recognize_visible(path: Path) -> Recognition:
    """What a file is; hidden ones are no audio."""
    return Recognition(False) if path.name.startswith(".") else recognize(path)


def chosen_of(one: Path, other: Path) -> Path | None:
    """Of a song and its film, which bear one name, the song; None for two songs or two films."""
    songs = [path for path in (one, other) if kind_of(path) is not Kind.FOREIGN]
    return songs[0] if len(songs) == 1 else None


def audio_files(folder: Path) -> dict[str, Path]:
    """The audio files of a folder by name without ending.

    Raises:
        AudioError: Two files differ in their endings only.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        recognition = recognize_visible(path)
        if recognition.left_out:
            logger.warning("left out: %s: %s", path, recognition.left_out)
        if not recognition.is_audio:
            continue
        chosen = path if path.stem not in files else chosen_of(files[path.stem], path)
        if chosen is None:
            raise AudioError(
                f"data set: {folder} has both {files[path.stem].name} and {path.name}; "
                "expected one file of this name. Remove one."
            )
        files[path.stem] = chosen
    return files


def _checked_sources(
    sources: Sequence[str], present: Iterable[str], layout: str
) -> tuple[str, ...]:
    found = sorted(set(present) - {MIXTURE})
    if not found:
        raise AudioError(f"data set: no audio files found; expected {layout}.")
    missing = [source for source in sources if source not in found]
    if missing:
        raise ConfigError(
            f"data set: no source {', '.join(missing)} in {layout}; found {', '.join(found)}."
        )
    return tuple(sources) or tuple(found)
