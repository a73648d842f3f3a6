"""Files under temporary names, and the folders that are made for them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lqsep.core.errors import AudioError
from lqsep.core.files.staging import Staging


class MadeFolders:
    """Folders that were not there before, so that those alone are removed again."""

    def __init__(self) -> None:
        self._made: list[Path] = []

    def make(self, folder: Path) -> None:
        """Make a folder and those above it.

        Raises:
            AudioError: It cannot be made.
        """
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            try:
                path.mkdir(exist_ok=True)
            except OSError as error:
                raise AudioError(f"cannot make {path}: {error.strerror or error}") from error
            self._made.append(path)

    def remove_empty(self) -> None:
        """Remove those that hold nothing."""
        for path in reversed(self._made):
            with suppress(OSError):  # not empty, or gone
                path.rmdir()


class PendingFile:
    """A file that is written elsewhere, ``part``, until it is whole.

    Args:
        path: The name that it gets, in a folder that is there.

    Raises:
        AudioError: The folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._staging = Staging(path.parent)
        except OSError as error:
            raise AudioError(f"cannot write {path}: {error.strerror or error}") from error
        self.part = self._staging.folder / path.name
        self._is_committed = False

    def commit(self) -> None:
        """Give it its name.

        Raises:
            AudioError: The disk refuses.
        """
        try:
            os.replace(self.part, self.path)
        except OSError as error:
            raise AudioError(f"cannot write {self.path}: {error.strerror or error}") from error
        self._is_committed = True
        self._staging.close()

    def discard(self) -> None:
        """Remove it, whichever name it has."""
        self._staging.close()
        if self._is_committed:
            self.path.unlink(missing_ok=True)
