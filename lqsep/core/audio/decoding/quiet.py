"""What libmpg123 prints to the terminal past everybody is left to the log.

It writes to descriptor 2 itself, of every frame that it finds odd, and plays on. While it works,
the descriptor is a file; lines that are not libmpg123's are passed on afterwards.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
from contextlib import suppress

logger = logging.getLogger(__name__)

_STDERR = 2
_LIBMPG123 = re.compile(rb"\[src/libmpg123/|(Note|Warning|Illegal Audio-MPEG-Header)\b|\s*$")


class _WithoutMpg123:
    """While entered, by any number of threads, libmpg123 is not heard."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._terminal: int | None = None
        self._file: int | None = None  # a descriptor, kept until the process ends

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            # Python has none where the descriptor was closed: another file may have its number.
            if self._depth == 1 and sys.__stderr__ is not None:
                with suppress(OSError):  # there is no descriptor, or no room for a file
                    self._divert()

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0 and self._terminal is not None:
                os.dup2(self._terminal, _STDERR)
                os.close(self._terminal)
                self._terminal = None
                with suppress(OSError):
                    self._pass_on()

    def _divert(self) -> None:
        if self._file is None:
            with tempfile.TemporaryFile(buffering=0) as file:
                self._file = os.dup(file.fileno())
        terminal = os.dup(_STDERR)
        os.dup2(self._file, _STDERR)
        self._terminal = terminal

    def _pass_on(self) -> None:
        assert self._file is not None
        size = os.lseek(self._file, 0, os.SEEK_CUR)
        if not size:
            return
        os.lseek(self._file, 0, os.SEEK_SET)
        lines = os.read(self._file, size).splitlines(keepends=True)
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        for line in lines:
            if _LIBMPG123.match(line):
                logger.debug("libmpg123: %s", line.decode(errors="replace").strip())
            else:
                os.write(_STDERR, line)


without_mpg123 = _WithoutMpg123()
"""A context manager, to be entered again and again."""
