"""List the files of a data set without insisting on a complete one.

A dataset refuses what it cannot read; here the same layouts are walked to say what is wrong.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lqsep.core.corpus.checks import DataFile, DataListing, DataProblem
from lqsep.core.errors import AudioError, ConfigError
from lqsep.plugins.datasets.layouts import MIXTURE, chosen_of, recognize_visible
from lqsep.plugins.datasets.slakh import find_slakh_tracks, slakh_splits
from lqsep.plugins.datasets.slakh_metadata import METADATA_FILE

_SPLITS = {"train", "training", "valid", "validation", "val", "dev", "test", "eval", "omitted"}
_SOURCES = {"drums", "bass", "vocals", "other", "piano", "guitar", "strings", "accompaniment"}

# What usually lies beside audio, and the reference's caches of durations.
_COMPANIONS = {"", ".dur", ".json", ".toml", ".yaml", ".yml", ".txt", ".md", ".csv", ".tsv"}
_COMPANIONS |= {".mid", ".midi", ".jpg", ".jpeg", ".png", ".pdf", ".html", ".lab", ".jams"}

# Folders below the root that are looked into; a layout has at most three levels.
_MAX_DEPTH = 5


def scan(root: Path, layout: str | None = None, sources: Sequence[str] = ()) -> DataListing:
    """List the files of a data set.

    Args:
        root: Its folder, with all its splits.
        layout: ``track-folders``, ``stem-folders`` or ``slakh``; None guesses it from the names.
        sources: What every track should have; default: all that occur, for slakh drums and bass.

    Raises:
        ConfigError: ``root`` is no folder, or a source is not there.
        AudioError: There are no audio files in this layout.
    """
    if not root.is_dir():
        raise ConfigError(f"data set: expected a folder, got {root}.")
    if layout is None and _looks_like_slakh(root):
        layout = "slakh"
    if layout == "slakh":
        return _scan_slakh(root, sources or ("drums", "bass"))
    audio, others, left_out = _walk(root)
    layout = layout or guess_layout(audio)
    placed, problems = _place(root, layout, audio)
    if not placed:
        raise AudioError(
            f"data set: no audio files in {root} in a known layout; expected "
            "<split>/<track>/<source>.wav (track-folders), <source>/<split>/<track>.wav "
            f"(stem-folders) or Slakh2100; found {len(audio)} audio files elsewhere."
        )
    found = sorted({file.source for file in placed} - {MIXTURE})
    if missing := [source for source in sources if source not in found]:
        raise ConfigError(
            f"data set: no source {', '.join(missing)} in {root} read as {layout}; found "
            f"{', '.join(found[:10])}."
        )
    wanted = tuple(sources) or tuple(found)
    files = [file for file in placed if file.source in (*wanted, MIXTURE)]
    problems += _incomplete(placed, wanted)
    problems += [
        DataProblem("error", "unreadable", "/".join(parts), why) for parts, why in left_out
    ]
    problems += [
        DataProblem("warning", "stray", f"*{ending}", f"no audio (files: {count})")
        for ending, count in sorted(others.items())
    ]
    files.sort(key=lambda file: (file.split, file.source, file.track))
    return DataListing(root, layout, wanted, tuple(files), tuple(problems))


def guess_layout(paths: Iterable[tuple[str, ...]]) -> str:
    """``track-folders`` or ``stem-folders``, by the names.

    Args:
        paths: Audio files as the names of their folders and their own, below the root.

    A folder named like a split in second place means stem-folders, in first place track-folders;
    else names that are usual for sources decide, then which reading has fewer sources.
    """
    paths = [parts for parts in paths if len(parts) in (2, 3)]
    deep = [parts for parts in paths if len(parts) == 3]
    tops = {parts[0] for parts in paths}
    names = {Path(parts[-1]).stem for parts in paths}
    first = sum(parts[0].lower() in _SPLITS for parts in deep)
    second = sum(parts[1].lower() in _SPLITS for parts in deep)
    known = len(_SOURCES & {name.lower() for name in names})
    known -= len(_SOURCES & {name.lower() for name in tops})
    for evidence in (first - second, known, len(tops) - len(names)):
        if evidence:
            return "track-folders" if evidence > 0 else "stem-folders"
    return "track-folders"


def _looks_like_slakh(root: Path) -> bool:
    return any(any(root.glob(f"{level}/{METADATA_FILE}")) for level in ("*", "*/*"))


def _scan_slakh(root: Path, sources: Sequence[str]) -> DataListing:
    files: list[DataFile] = []
    problems: list[DataProblem] = []
    for split in slakh_splits(root) or [""]:
        found = find_slakh_tracks(root, split or None, sources)
        level = f"{split}/" if split else ""
        problems += [
            DataProblem("error", "metadata", f"{level}{problem.track}", problem.text)
            for problem in found.problems
        ]
        problems += [
            DataProblem(
                "warning",
                "incomplete",
                f"{level}{track.name}",
                f"no {', '.join(found.missing(track))}; the dataset leaves it out",
            )
            for track in found.incomplete
        ]
        files += [
            DataFile(split, track.name, source, path)
            for source in found.sources
            for track in (*found.tracks, *found.incomplete)
            for path in track.stems.get(source, ())
        ]
    if not files:
        raise AudioError(f"slakh: no track in {root} has {' or '.join(sources)}.")
    return DataListing(root, "slakh", tuple(sources), tuple(files), tuple(problems))


Parts = tuple[str, ...]


def _walk(root: Path) -> tuple[list[Parts], Counter[str], list[tuple[Parts, str]]]:
    """Audio files as parts of their paths; how many others there are, by ending; what is left out.

    The last are sound that cannot be read, and why.
    """
    audio: list[Parts] = []
    others: Counter[str] = Counter()
    left_out: list[tuple[Parts, str]] = []
    for place, folders, files in os.walk(root, followlinks=True):
        parts = Path(place).relative_to(root).parts
        visible = [name for name in folders if not name.startswith(".")]
        folders[:] = sorted(visible) if len(parts) < _MAX_DEPTH else []
        for name in sorted(files):
            recognition = recognize_visible(Path(place, name))
            if recognition.is_audio:
                audio.append((*parts, name))
            elif recognition.left_out:
                left_out.append(((*parts, name), recognition.left_out))
            elif not name.startswith(".") and Path(name).suffix.lower() not in _COMPANIONS:
                others[Path(name).suffix.lower()] += 1
    return audio, others, left_out


def _place(
    root: Path, layout: str, audio: Sequence[tuple[str, ...]]
) -> tuple[list[DataFile], list[DataProblem]]:
    """Files as the layout sees them; those that it does not see become problems."""
    depths = Counter(len(parts) for parts in audio if len(parts) in (2, 3))
    depth = max(depths, key=lambda n: (depths[n], n), default=0)
    files: dict[tuple[str, str, str], DataFile] = {}
    problems = []
    for parts in audio:
        where = "/".join(parts)
        if len(parts) != depth:
            text = f"not where {layout} has its files; it is not read"
            problems.append(DataProblem("warning", "stray", where, text))
            continue
        file = _read_parts(root, layout, parts)
        key = (file.split, file.track, file.source)
        chosen = chosen_of(files[key].path, file.path) if key in files else file.path
        if chosen is None:
            text = f"{files[key].path.name} is of the same name; the dataset refuses both"
            problems.append(DataProblem("error", "name", where, text))
            continue
        files[key] = replace(file, path=chosen)
    return list(files.values()), problems


def _read_parts(root: Path, layout: str, parts: tuple[str, ...]) -> DataFile:
    name = Path(parts[-1]).stem
    path = root.joinpath(*parts)
    if layout == "track-folders":
        split = parts[0] if len(parts) == 3 else ""
        return DataFile(split, parts[-2], name, path)
    return DataFile(parts[1] if len(parts) == 3 else "", name, parts[0], path)


def _incomplete(files: Iterable[DataFile], sources: Sequence[str]) -> Iterator[DataProblem]:
    tracks: Mapping[tuple[str, str], set[str]] = defaultdict(set)
    for file in files:
        tracks[file.split, file.track].add(file.source)
    for (split, track), has in sorted(tracks.items()):
        if missing := [source for source in sources if source not in has]:
            where = f"{split}/{track}" if split else track
            yield DataProblem("error", "incomplete", where, f"no {', '.join(missing)}")
