"""Slakh2100: many stems per track, summed by class of instrument."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from lqsep.core.errors import AudioError, ConfigError
from lqsep.plugins.datasets.folders import FolderDataset
from lqsep.plugins.datasets.layouts import TrackFiles, visible_folders
from lqsep.plugins.datasets.slakh_metadata import (
    CLASSES,
    METADATA_FILE,
    STEMS_FOLDER,
    read_slakh_folder,
)

logger = logging.getLogger(__name__)

# So many tracks are named in a message.
_SHOWN = 3


@dataclass(frozen=True)
class SlakhProblem:
    """Something wrong with the metadata of a track, in one sentence."""

    track: str
    text: str


@dataclass(frozen=True)
class SlakhTracks:
    """What was found of Slakh2100 or one of its splits.

    Args:
        tracks: Those with every source; mixtures are left to be formed from the sources, because
            ``mix.flac`` holds all instruments.
        incomplete: Tracks that lack a source, with what they have of the others.
        problems: Of all tracks.
        classes: Instrument classes of each source, lower case.
        seen: Of these and Slakh's own classes, those that a track has a file of.
    """

    tracks: tuple[TrackFiles, ...]
    incomplete: tuple[TrackFiles, ...]
    problems: tuple[SlakhProblem, ...]
    classes: Mapping[str, tuple[str, ...]]
    seen: frozenset[str]

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in order."""
        return tuple(self.classes)

    def missing(self, track: TrackFiles) -> tuple[str, ...]:
        """The sources that a track lacks."""
        return tuple(source for source in self.sources if source not in track.stems)


class SlakhDataset(FolderDataset):
    """Slakh2100, or a data set of its form; the sources of a track are sums of its stems.

    Wrong metadata and tracks that lack a source are logged and left out.

    Args:
        found: As `find_slakh_tracks` gives it.

    Attributes:
        problems: What is wrong with the metadata.
        left_out: Names of the tracks that lack a source.

    Raises:
        AudioError: No track has every source.
    """

    def __init__(self, found: SlakhTracks) -> None:
        if not found.tracks:
            why = absent_classes([found]) or _first_missing(found)
            raise AudioError(
                f"slakh: none of {len(found.incomplete)} tracks has {' and '.join(found.sources)}: "
                f"name fewer sources, or set their classes; {why}"
            )
        super().__init__(found.tracks)
        self.problems = found.problems
        self.left_out = tuple(track.name for track in found.incomplete)
        report(found)


def find_slakh_tracks(
    root: Path,
    split: str | None = None,
    sources: Sequence[str] = ("drums", "bass"),
    classes: Mapping[str, Sequence[str]] | None = None,
) -> SlakhTracks:
    """Read the metadata of ``root/<split>/TrackXXXXX``.

    A stem that was not rendered is a gap, like one whose file is missing; a stem whose class is in
    doubt belongs to no source.

    Args:
        root: Folder of the data set.
        split: train, validation, test or omitted; None when tracks lie in ``root`` itself.
        sources: Names, in order.
        classes: Instrument classes of a source; default: the class of the source's own name.

    Raises:
        ConfigError: ``root`` or the split is not there, or a source has no class of its own.
        AudioError: There are no tracks.
    """
    classes_of = source_classes(sources, classes or {})
    folders = slakh_folders(root, split)
    known = {name for names in classes_of.values() for name in names}
    complete: list[TrackFiles] = []
    incomplete: list[TrackFiles] = []
    problems: list[SlakhProblem] = []
    seen: set[str] = set()
    for folder in folders:
        track = read_slakh_folder(folder, known)
        problems += [SlakhProblem(track.name, text) for text in track.problems]
        seen.update(track.classes)
        stems = {
            source: tuple(path for name in names for path in track.classes.get(name, ()))
            for source, names in classes_of.items()
        }
        stems = {source: paths for source, paths in stems.items() if paths}
        is_complete = len(stems) == len(classes_of)
        (complete if is_complete else incomplete).append(TrackFiles(track.name, stems, None))
    return SlakhTracks(
        tuple(complete), tuple(incomplete), tuple(problems), classes_of, frozenset(seen)
    )


def absent_classes(parts: Collection[SlakhTracks]) -> str:
    """In words, the sources' classes that occur in none of the splits; empty where all occur."""
    seen = {name for part in parts for name in part.seen}
    wanted = {
        name: source for part in parts for source, its in part.classes.items() for name in its
    }
    spelling = {name.lower(): name for name in CLASSES}
    words = []
    for name, source in wanted.items():
        if name in seen:
            continue
        close = get_close_matches(name, sorted({*spelling, *seen} - {name}), n=2)
        meant = " or ".join(repr(spelling.get(other, other)) for other in close)
        hint = f"; did you mean {meant}?" if close else ""
        words.append(f"no track has a stem of class {spelling.get(name, name)!r} ({source}){hint}")
    return "; ".join(words)


def slakh_folders(root: Path, split: str | None = None) -> list[Path]:
    """The track folders of a split, or of ``root`` itself.

    Raises:
        ConfigError: ``root`` or the split is not there.
        AudioError: It has no tracks.
    """
    folder = root / split if split else root
    there = visible_folders(root)
    if not folder.is_dir():
        names = ", ".join(path.name for path in there[:10]) or "no folder"
        raise ConfigError(f"slakh: no split {split!r} in {root}; it has {names}.")
    tracks = [path for path in visible_folders(folder) if is_slakh_track(path)]
    if not tracks:
        splits = [] if split else [path.name for path in there if _has_tracks(path)]
        hint = f" Set the split: {', '.join(splits)}." if splits else ""
        raise AudioError(
            f"slakh: no tracks found; expected {folder}/TrackXXXXX/{METADATA_FILE}.{hint}"
        )
    return tracks


def slakh_splits(root: Path) -> list[str]:
    """Names of the folders with tracks; empty when tracks lie in ``root`` itself.

    Raises:
        ConfigError: ``root`` is no folder.
    """
    if _has_tracks(root):
        return []
    return [path.name for path in visible_folders(root) if _has_tracks(path)]


def is_slakh_track(folder: Path) -> bool:
    """Whether a folder looks like a track, damaged ones included."""
    return (folder / METADATA_FILE).is_file() or (folder / STEMS_FOLDER).is_dir()


def source_classes(
    sources: Sequence[str], classes: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Instrument classes by source, lower case.

    Raises:
        ConfigError: A source without class, a class of two sources, classes of no source.
    """
    names = {name.lower() for name in CLASSES}
    result: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for source in sources:
        if source not in classes and source.lower() not in names:
            raise ConfigError(
                f"slakh: source {source!r} is no instrument class; name its classes in "
                f"classes.{source}, among {', '.join(CLASSES)}."
            )
        result[source] = tuple(
            dict.fromkeys(name.lower() for name in classes.get(source, (source,)))
        )
        for name in result[source]:
            if owners.setdefault(name, source) != source:
                raise ConfigError(
                    f"slakh: class {name!r} belongs to both {owners[name]} and {source}; "
                    "expected it once."
                )
    if unused := sorted(set(classes) - set(sources)):
        raise ConfigError(
            f"slakh: classes of {', '.join(unused)}, but the sources are {', '.join(sources)}."
        )
    if empty := [source for source, its_classes in result.items() if not its_classes]:
        raise ConfigError(f"slakh: no classes for {', '.join(empty)}; expected at least one.")
    return result


def report(found: SlakhTracks) -> None:
    """Log one warning per track with problems, and one for those left out."""
    by_track: dict[str, list[str]] = {}
    for problem in found.problems:
        by_track.setdefault(problem.track, []).append(problem.text)
    for track, texts in by_track.items():
        logger.warning("slakh: %s: %s", track, "; ".join(texts))
    if found.incomplete:
        logger.warning(
            "slakh: left out %d of %d tracks, which lack a source: %s",
            len(found.incomplete),
            len(found.incomplete) + len(found.tracks),
            _first_missing(found),
        )


def _first_missing(found: SlakhTracks) -> str:
    shown = [
        f"{track.name} has no {', '.join(found.missing(track))}"
        for track in found.incomplete[:_SHOWN]
    ]
    more = len(found.incomplete) - len(shown)
    return "; ".join(shown) + (f" and {more} more" if more else "")


def _has_tracks(folder: Path) -> bool:
    return any(is_slakh_track(path) for path in visible_folders(folder))
