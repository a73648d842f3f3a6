"""Memory that has been freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys

# As <malloc.h> has it.
_M_MMAP_THRESHOLD = -3

# Larger pieces of memory are the system's own.
_LARGE_BYTES = 1 << 20


def give_back_what_is_freed() -> None:
    """Have the C library take large pieces of memory from the system, and give them back at once.

    glibc begins so, but after the first large piece that is freed it keeps those of up to 32 MB in
    one heap, where what is small and stays lies between them. Work on a long input asks for large
    pieces again and again, of slightly other sizes, and would leave a hole nearly every time: with
    ten minutes of dense music 2.5 GB of them. Other C libraries have no such setting or need none.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    except (AttributeError, OSError):
        pass  # musl: it does so always
