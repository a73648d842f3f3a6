"""stdout and stderr of the ``lqsep`` program: nobody else writes results, and no full disk ends it.

A stdout that is closed, full, or a pipe that nobody reads is told once, at the end: the files that
a command makes are worth more than what it prints.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Any, TextIO


class LenientFile(io.RawIOBase):
    """A descriptor that may refuse to be written to: the first refusal is remembered.

    Args:
        descriptor: Open for writing; None: a stream that was closed before the program began.

    Attributes:
        error: The first refusal.
    """

    def __init__(self, descriptor: int | None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self.error is None:
            try:
                if self._descriptor is None:
                    raise OSError(errno.EBADF, "it is closed")
                return os.write(self._descriptor, view)
            except BlockingIOError:
                raise
            except OSError as error:
                self.error = error
        return len(view)

    def fileno(self) -> int:
        if self._descriptor is None:
            raise io.UnsupportedOperation("the stream is closed")
        return self._descriptor

    def isatty(self) -> bool:
        return self._descriptor is not None and os.isatty(self._descriptor)


def keep_stdout_for_results() -> LenientFile:
    """Make ``sys.stdout`` a file of its own, and descriptor 1 another name of stderr.

    What libraries and child processes print without asking Python goes to stderr then. Descriptors
    that were closed are filled, lest the next file that is opened be printed to.

    Returns:
        What is behind ``sys.stdout``; its ``error`` tells whether the results arrived.
    """
    _fill(0, os.O_RDONLY)
    _fill(2, os.O_WRONLY)
    results: int | None = None
    if _is_open(1):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
        results = os.dup(1)
    os.dup2(2, 1, inheritable=True)
    # A name of its own: 2 is diverted now and then, where libraries print what is not for users.
    sys.stderr = _text(LenientFile(os.dup(2)), sys.stderr)
    file = LenientFile(results)
    sys.stdout = _text(file, sys.stdout)
    return file


def _text(file: LenientFile, like: TextIO | None) -> TextIO:
    """A text stream on the file, with the encoding of another; each line leaves at once."""
    encoding = getattr(like, "encoding", None) or "utf-8"
    buffered = io.BufferedWriter(file)
    return io.TextIOWrapper(
        buffered, encoding=encoding, errors="backslashreplace", line_buffering=True
    )


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _fill(descriptor: int, mode: int) -> None:
    """See that the descriptor is open, if only on nothing."""
    if _is_open(descriptor):
        return
    null = os.open(os.devnull, mode)
    if null != descriptor:
        os.dup2(null, descriptor, inheritable=True)
        os.close(null)
    else:
        os.set_inheritable(descriptor, True)
