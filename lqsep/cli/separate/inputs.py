"""Which files are meant by the inputs of a command, and what their tracks are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

REPORT_FILE = "lqsep.json"


def find_inputs(
    inputs: Sequence[str], extensions: Iterable[str], skip: Path
) -> tuple[list[Path], list[tuple[str, str]]]:
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
    files: dict[Path, Path] = {}
    failures: list[tuple[str, str]] = []
    for text in inputs:
        errors: list[str] = []
        try:
            for file in _found(text, endings, skip, errors):
                files.setdefault(file.resolve(), file)
        except OSError as error:
            errors.append(f"cannot read {text}: {error.strerror or error}")
        except RuntimeError:  # what Python 3.11 and 3.12 make of a link to itself
            errors.append(f"cannot read {text}: its links lead in a circle")
        failures += [(text, error) for error in errors]
    return list(files.values()), failures


def track_names(files: Sequence[Path]) -> list[str]:
    """A name for each file: its stem, made unique by ``_2``, ``_3`` and so on.

    Names that differ in upper and lower case only count as equal, as some file systems have it.
    """
    taken: set[str] = set()
    names = []
    for file in files:
        # "...wav" has the stem "..", which as a folder would lead out of the output folder.
        stem = file.stem if file.stem.strip(".") else "track"
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _found(text: str, endings: tuple[str, ...], skip: Path, errors: list[str]) -> list[Path]:
    """The files that one input stands for; what is wrong with it is added to ``errors``."""
    path = Path(text)
    if path.is_dir():
        found, nothing = _audio_below(path, endings, skip, errors), "in folder"
    elif os.path.lexists(path) or not glob.has_magic(text):
        return [path]
    else:
        found, nothing = _matches(text, endings, skip, errors), "match"
    if not found and not errors:
        errors.append(f"no audio files {nothing} {text}")
    return found


def _matches(pattern: str, endings: tuple[str, ...], skip: Path, errors: list[str]) -> list[Path]:
    found: list[Path] = []
    for match in sorted(glob.glob(pattern, recursive=True)):
        path = Path(match)
        if path.is_dir():
            found += _audio_below(path, endings, skip, errors)
        elif path.name.lower().endswith(endings):
            found.append(path)
    return found


def _audio_below(
    folder: Path, endings: tuple[str, ...], skip: Path, errors: list[str]
) -> list[Path]:
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
        found += [
            here / name
            for name in sorted(files)
            if name.lower().endswith(endings) and not name.startswith(".")
        ]
    return found
