"""Signals that end a program, as exceptions: what is unfinished is removed on the way out."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from lqsep.core.errors import Interrupted
from lqsep.core.files import staging

# Windows knows no hanging up.
ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

_received: int | None = None


@contextmanager
def interruptible(signals: Sequence[int] = ENDING) -> Iterator[None]:
    """While active, the given signals raise `Interrupted`; ignored ones (``nohup``) stay ignored.

    A second signal does not wait for the way out: unfinished files are removed, and the process
    ends at once. Outside the main thread, where Python allows no handlers, nothing changes.
    """
    global _received
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received = None
    caught = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, _handle) for number in caught}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _received = None


def ignore_interrupts() -> None:
    """From now on signals change nothing: the work is done, and the exit code is known."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def check_interrupts() -> None:
    """Raise again what a signal raised; for loops to call now and then.

    An exception raised from a signal handler is lost when it strikes inside a destructor or a weak
    reference's callback, as happens during imports.

    Raises:
        Interrupted: A signal was received.
    """
    if _received is not None:
        raise Interrupted(_received)


def _handle(number: int, frame: FrameType | None) -> None:
    global _received
    if _received is not None:
        staging.remove_all()
        os._exit(Interrupted(number).exit_code)
    _received = number
    raise Interrupted(number)
