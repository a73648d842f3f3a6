"""A directory that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lqsep.core.errors import CheckpointError


@contextlib.contextmanager
def new_directory(path: str | Path) -> Iterator[Path]:
    """Fill a directory under a temporary name beside its own; it is renamed when all went well.

    Yields:
        The directory to write into. After an error it is gone, and ``path`` is as it was.

    Raises:
        CheckpointError: ``path`` is there and not an empty directory, or cannot be made.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        check_free(path)
        temporary.mkdir(parents=True)
    except OSError as error:
        raise _cannot_make(path, error) from error
    try:
        yield temporary
        try:
            os.replace(temporary, path)
        except OSError as error:
            raise _cannot_make(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_free(path: Path) -> None:
    """Refuse a path at which there is something else than an empty directory.

    Raises:
        CheckpointError: There is.
    """
    if not path.name:
        raise CheckpointError(f"cannot make {path}: expected the name of a new directory")
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise CheckpointError(f"{path} is not a directory; choose another one")
    if path.is_dir() and any(path.iterdir()):
        raise CheckpointError(
            f"{path} already holds files, which are left as they are; choose another directory or "
            "remove it first"
        )


def _cannot_make(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"cannot make {path}: {error.strerror or error}")
