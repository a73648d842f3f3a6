"""A file seen in another way than it lies on disk: without some parts, with others in their place.

libsndfile believes what headers say. Where they are wrong, it is shown the file as if they were
right; nothing is copied.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

Part = bytes | tuple[int, int]
"""Bytes in place of others, or a range of the file, from start to stop."""

# libmpg123 looks for a tag in the last bytes of a file, and does not open it where there are none.
_END = 128


class FileView(io.RawIOBase):
    """Parts of a file, one after the other, as a file of its own; read only.

    Args:
        path: The file.
        parts: What is seen of it, in this order.
        claimed: How many times as long as it is the view says it is. From where the parts end to
            just before the claimed end, reading gives nothing.

    Attributes:
        error: What went wrong while reading: libsndfile's callbacks lose exceptions.
    """

    def __init__(self, path: Path, parts: Sequence[Part], claimed: int = 1) -> None:
        self._file = path.open("rb")
        self._parts = tuple(parts)
        lengths = (len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts)
        self._ends = list(accumulate(lengths))
        self._length = self._ends[-1] * claimed
        self._position = 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer: libsndfile takes less for the end of the file."""
        target = memoryview(buffer).cast("B")
        done = 0
        try:
            while done < len(target) and (n_read := self._read_part(target[done:])):
                done += n_read
        except OSError as error:
            self.error = error
        return done

    def close(self) -> None:
        self._file.close()
        super().close()

    def _read_part(self, target: memoryview) -> int:
        """Read up to the end of the part that the position is in."""
        index = bisect_right(self._ends, self._position)
        if index == len(self._parts):
            return self._read_end(target)
        part = self._parts[index]
        offset = self._position - (self._ends[index - 1] if index else 0)
        size = min(len(target), self._ends[index] - self._position)
        if isinstance(part, bytes):
            target[:size] = part[offset : offset + size]
        else:
            self._file.seek(part[0] + offset)
            size = self._file.readinto(target[:size])
        self._position += size
        return size

    def _read_end(self, target: memoryview) -> int:
        if self._position < max(self._ends[-1], self._length - _END):
            return 0
        size = max(0, min(len(target), self._length - self._position))
        target[:size] = bytes(size)
        self._position += size
        return size


def replaced(size: int, others: Sequence[tuple[int, int, bytes]]) -> list[Part]:
    """The parts of a file of ``size`` bytes in which some ranges are other bytes.

    Args:
        size: Of the file.
        others: Start, stop and what is seen in between, in ascending order.
    """
    parts: list[Part] = []
    done = 0
    for start, stop, content in others:
        parts += [(done, start), content] if start > done else [content]
        done = stop
    return [*parts, (done, size)]
