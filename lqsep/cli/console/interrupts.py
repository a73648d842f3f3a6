"""Ctrl-C and SIGTERM as exceptions, so that unfinished files are removed on the way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any


class Interrupts:
    """While active, the given signals raise: SIGINT `KeyboardInterrupt`, others `SystemExit`.

    An exception raised from a signal handler is lost when it strikes inside a destructor or a weak
    reference's callback, as happens during imports. `check`, called now and then, raises it again.
    A context manager; does nothing outside the main thread, where Python allows no handlers.
    """

    def __init__(self, signals: Sequence[int] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self._signals = signals
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def check(self) -> None:
        """Raise if a signal was received."""
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        if self._received is not None:
            raise SystemExit(128 + self._received)

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = {n: signal.signal(n, self._handle) for n in self._signals}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        self.check()
