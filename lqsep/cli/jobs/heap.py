"""Memory that has been freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys

# As <malloc.h> has them.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

# Pieces from this size on are the system's own: likelihoods of 64 frames (16 MB) are. Smaller ones
# come and go so often that fetching them would double the time of the refiners.
_LARGE_BYTES = 1 << 23

# What may be free at the end of the heap.
_SPARE_BYTES = 1 << 25


def give_back_what_is_freed() -> None:
    """Have the C library take large pieces of memory from the system, and give them back at once.

    glibc begins so, but after the first large piece that is freed it keeps those of up to 32 MB in
    one heap, where what is small and stays lies between them. Work on a long input asks for large
    pieces again and again, of slightly other sizes, and would leave a hole nearly every time: with
    ten minutes of dense music 2.5 GB of them. A thread that computes ahead would have a heap, and
    holes, of its own. Other C libraries have no such setting or need none.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _SPARE_BYTES)
        library.mallopt(_M_ARENA_MAX, 1)
    except (AttributeError, OSError):
        pass  # musl: it does so always
