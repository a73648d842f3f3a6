"""A hidden folder for what is not finished yet, beside the place where it shall appear.

::

    songs/
        .lqsep-k3v9x2ab/        gone when its writer is done
            .lqsep-owner        locked as long as its writer lives
            drums.wav           renamed to songs/drums.wav when it is whole

A process that is killed leaves its folder behind. The next one that writes to the same place
removes it: a folder is nobody's if it has the mark of ours in ``.lqsep-owner`` and the lock can be
had. Neither its name nor its age alone says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Self

PREFIX = ".lqsep-"

# No file that is written has this name.
_OWNER = f"{PREFIX}owner"
_MARK = b"lqsep: unfinished files; whoever gets this file's lock may remove the folder\n"

# By folder, the open file that holds its lock.
_live: dict[Path, int] = {}
_swept: set[Path] = set()


class Staging:
    """A folder of one's own beside the place where something new shall appear.

    A context manager: leaving it removes the folder with everything in it.

    Args:
        place: The folder of what shall appear; it is there.

    Attributes:
        folder: To write in; on the file system of ``place``.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, place: str | Path) -> None:
        sweep(place)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        try:
            owner = os.open(self.folder / _OWNER, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            _live[self.folder] = owner
            _lock(owner)
            os.write(owner, _MARK)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove it; once is enough."""
        _remove(self.folder, _live.pop(self.folder, None))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def temporary() -> Staging:
    """A folder for what appears nowhere, among the system's temporary files.

    Raises:
        OSError: It cannot be made.
    """
    return Staging(tempfile.gettempdir())


def sweep(place: str | Path) -> None:
    """Remove what writers to a place have left that are gone; a process looks once at each place.

    What cannot be looked at or removed stays.
    """
    place = Path(place).absolute()
    if place in _swept or sys.platform == "win32":
        return
    _swept.add(place)
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                _remove_if_left(Path(entry.path))


def remove_all() -> None:
    """Remove every folder of this process, which is about to end at once."""
    for folder, owner in list(_live.items()):
        _remove(folder, owner)
    _live.clear()


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if folder.stat().st_uid != os.geteuid():
            return
        owner = os.open(folder / _OWNER, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if os.read(owner, len(_MARK) + 1) == _MARK and _lock(owner):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(owner)


def _lock(file: int) -> bool:
    """Whether the lock could be had; it goes with the process."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by another, or a file system without locks
        return False
    return True


def _remove(folder: Path, owner: int | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if owner is not None:
        with contextlib.suppress(OSError):
            os.close(owner)
