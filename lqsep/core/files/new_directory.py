"""A directory that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lqsep.core.errors import CheckpointError
from lqsep.core.files.staging import Staging


@contextlib.contextmanager
def new_directory(path: str | Path) -> Iterator[Path]:
    """Fill a directory in a hidden one beside its place; it gets its name when all went well.

    Yields:
        The directory to write into. After an error it is gone, and ``path`` is as it was.

    Raises:
        CheckpointError: ``path`` is there and not an empty directory, or cannot be made.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        try:
            check_free(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            made = stack.enter_context(Staging(path.parent)).folder / path.name
            made.mkdir()
        except OSError as error:
            raise _cannot_make(path, error) from error
        yield made
        try:
            os.replace(made, path)
        except OSError as error:
            raise _cannot_make(path, error) from error


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
