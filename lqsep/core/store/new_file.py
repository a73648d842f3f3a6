"""A file that is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from lqsep.core.errors import AudioError, first_line


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name beside its own; it is renamed when all went well.

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
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    finally:
        # What cannot be removed was never made, or has its name: not the error to tell of.
        with contextlib.suppress(OSError):
            part.unlink()


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
