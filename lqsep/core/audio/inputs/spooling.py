"""What comes through a pipe, kept in a file until it has been separated.

Decoders go back and forth, and the length has to be known at the beginning: a pipe allows neither.
"""

from __future__ import annotations

import os
import select
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lqsep.core.audio.checks import reason
from lqsep.core.errors import AudioError
from lqsep.core.files.staging import temporary

STDIN = "-"

_BLOCK = 1 << 20

# How long to wait for somebody to write to a named pipe.
_PATIENCE_S = 10.0


def is_pipe(name: str) -> bool:
    """Whether an input is standard input or a pipe: named, or from ``<(command)``."""
    try:
        return name == STDIN or stat.S_ISFIFO(os.stat(name).st_mode)
    except (OSError, ValueError):  # whatever it is, the reader will say what is wrong
        return False


@contextmanager
def spooled(name: str) -> Iterator[Path]:
    """Everything that comes through a pipe, as a file that is removed at the end.

    Args:
        name: ``-`` for standard input, or a path.

    Raises:
        AudioError: Nothing comes, or it cannot be kept.
    """
    with temporary() as staging:
        # Named as its track will be: after the pipe, where that has a name of its own.
        own = Path(name).stem
        stem = "stdin" if name == STDIN else "pipe" if own.isdecimal() or not own else own
        path = staging.folder / stem
        try:
            with path.open("wb") as file:
                if name == STDIN:
                    _copy_stdin(file)
                else:
                    _copy_pipe(name, file)
        except OSError as error:
            raise AudioError(f"cannot keep what comes through {name}: {reason(error)}.") from error
        if not path.stat().st_size:
            raise AudioError(f"cannot read {name}: nothing came through it.")
        yield path


def _copy_stdin(file: BinaryIO) -> None:
    if sys.stdin is None or sys.stdin.closed:
        raise AudioError(f"cannot read {STDIN}: there is no standard input.")
    if sys.stdin.isatty():
        raise AudioError(f"cannot read {STDIN}: standard input is a terminal; pipe a file into it.")
    shutil.copyfileobj(sys.stdin.buffer, file, _BLOCK)


def _copy_pipe(name: str, file: BinaryIO) -> None:
    # Opened like this, a pipe that nobody writes to does not keep us waiting.
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        deadline, is_begun = time.monotonic() + _PATIENCE_S, False
        while True:
            try:
                block = os.read(descriptor, _BLOCK)
            except BlockingIOError:  # somebody does, and is not ready
                is_begun = True
                select.select([descriptor], [], [])
                continue
            if block:
                is_begun = True
                file.write(block)
            elif is_begun:
                return
            elif time.monotonic() > deadline:
                raise AudioError(f"cannot read {name}: a pipe that no program writes to.")
            else:
                time.sleep(0.02)
    finally:
        os.close(descriptor)
