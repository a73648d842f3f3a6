"""Which files are meant by the inputs of a command, and what their tracks are called."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lqsep.core.separation.output.settings import REPORT_FILE


@dataclass(frozen=True)
class FoundFile:
    """A file that an input stands for.

    Args:
        path: As it was given, or below the folder that was.
        below: The folders between the folder that was given and the file; none for others.
    """

    path: Path
    below: tuple[str, ...] = ()


def find_inputs(
    inputs: Sequence[str], extensions: Iterable[str], skip: Path
) -> tuple[list[FoundFile], list[tuple[str, str]]]:
    """Resolve files, folders and glob patterns, in the order given, each file once.

    A folder stands for all audio files below it, but hidden ones, those below ``skip`` (the output
    folder) and those beside a ``lqsep.json`` (stems of an earlier run). A file named in full is
    taken whatever it is called; whether it can be read is for the reader to say.

    Args:
        inputs: As given on the command line.
        extensions: Endings of audio files, without dot.
        skip: A folder that is not searched.

    Returns:
        The files, and ``(input, error)`` for each input that stands for none or has folders that
        cannot be listed.
    """
    endings = tuple(f".{extension.lower()}" for extension in extensions)
    files: dict[Path, FoundFile] = {}
    failures: list[tuple[str, str]] = []
    for text in inputs:
        errors: list[str] = []
        try:
            for file in _found(text, endings, skip, errors):
                files.setdefault(file.path.resolve(), file)
        except OSError as error:
            errors.append(f"cannot read {text}: {error.strerror or error}")
        except RuntimeError:  # what Python 3.11 and 3.12 make of a link to itself
            errors.append(f"cannot read {text}: its links lead in a circle")
        failures += [(text, error) for error in errors]
    return list(files.values()), failures


def track_names(files: Sequence[FoundFile]) -> list[str]:
    """A name for each file: its stem, below the folders that it was found in.

    The name of a file does not depend on how many others there are, but where two would be one:
    these keep their endings, or are named by more of the folders that they lie in. Upper and lower
    case make no difference, as some file systems have it.
    """
    names = [_joined(file.below, _stem(file.path)) for file in files]
    tries = 0
    while clashes := _clashes(names):
        for place in clashes:
            names[place] = _longer_name(files[place], tries, place)
        tries += 1
    return names


def _longer_name(file: FoundFile, tries: int, place: int) -> str:
    """What a file may be called beside others of its name, from one try to the next."""
    if tries == 0:
        return _joined(file.below, file.path.name.strip(".") or "track")
    folders = file.path.resolve().parent.parts[1:]
    n_folders, with_ending = (tries + 1) // 2, tries % 2 == 0
    if n_folders > len(folders):
        return f"{_stem(file.path)}_{place + 1}"
    name = file.path.name.strip(".") if with_ending else _stem(file.path)
    return _joined(folders[-n_folders:], name)


def _joined(folders: Sequence[str], name: str) -> str:
    return "/".join((*folders, name))


def _clashes(names: Sequence[str]) -> list[int]:
    counts = Counter(name.casefold() for name in names)
    return [place for place, name in enumerate(names) if counts[name.casefold()] > 1]


def _stem(path: Path) -> str:
    # "...wav" has the stem "..", which as a folder would lead out of the output folder.
    return path.stem if path.stem.strip(".") else "track"


def _found(text: str, endings: tuple[str, ...], skip: Path, errors: list[str]) -> list[FoundFile]:
    """The files that one input stands for; what is wrong with it is added to ``errors``."""
    path = Path(text)
    if path.is_dir():
        found, nothing = _audio_below(path, endings, skip, errors), "in folder"
    elif os.path.lexists(path) or not glob.has_magic(text):
        return [FoundFile(path)]
    else:
        found, nothing = _matches(text, endings, skip, errors), "match"
    if not found and not errors:
        errors.append(f"no audio files {nothing} {text}")
    return found


def _matches(
    pattern: str, endings: tuple[str, ...], skip: Path, errors: list[str]
) -> list[FoundFile]:
    found: list[FoundFile] = []
    for match in sorted(glob.glob(pattern, recursive=True)):
        path = Path(match)
        if path.is_dir():
            found += _audio_below(path, endings, skip, errors)
        elif path.name.lower().endswith(endings):
            found.append(FoundFile(path))
    return found


def _audio_below(
    folder: Path, endings: tuple[str, ...], skip: Path, errors: list[str]
) -> list[FoundFile]:
    def cannot_list(error: OSError) -> None:
        errors.append(f"cannot list folder {error.filename}: {error.strerror or error}")

    found = []
    skipped = skip.resolve()
    for root, folders, files in os.walk(folder, onerror=cannot_list):
        here = Path(root)
        if here != folder and (REPORT_FILE in files or here.resolve() == skipped):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = here.relative_to(folder).parts
        found += [
            FoundFile(here / name, below)
            for name in sorted(files)
            if name.lower().endswith(endings) and not name.startswith(".")
        ]
    return found
