"""A file that is written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lqsep.core.errors import AudioError, ConfigError, first_line
from lqsep.core.files.staging import Staging


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Write a file in a hidden folder beside its place; it gets its name when all went well.

    An older file of its name is replaced, and a missing folder is made.

    Yields:
        The path to write to. After an error it is gone, and ``path`` is as it was.

    Raises:
        OSError: The folder cannot be made, or the file cannot have its name.

    Example:
        >>> with new_file(folder / "notes.txt") as part:
        ...     part.write_text("content")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Staging(path.parent) as staging:
        part = staging.folder / path.name
        yield part
        os.replace(part, path)


def check_target(path: Path) -> None:
    """See that a file can be written, without making it or its folder.

    Raises:
        ConfigError: It cannot.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        try_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def try_folder(folder: Path) -> None:
    """Write to a folder, or to the first above it that is there; nothing is left.

    Raises:
        OSError: It cannot be done.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


def check_writable(folder: Path) -> None:
    """See that files can be written to an output folder, without making it.

    Raises:
        ConfigError: They cannot.
    """
    try:
        try_folder(folder)
    except OSError as error:
        raise ConfigError(
            f"cannot write to the output folder {folder}: {error.strerror or error}; "
            "choose another with --out"
        ) from error


def system_words(error: BaseException) -> str:
    """Why a file cannot be written, without the temporary name that the system's message has.

    Libraries that write in their own way wrap the system's error; without one, what they say.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__context__
    return first_line(error)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        AudioError: It cannot be written; what was there before stays.
    """
    try:
        with new_file(path) as part:
            # Names of files need not be UTF-8.
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise AudioError(f"cannot write {path}: {system_words(error)}") from error
