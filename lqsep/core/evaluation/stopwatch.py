"""Time that a separation takes, on the clock and of the processor."""

from __future__ import annotations

import time


class Stopwatch:
    """Adds up what passes between `start` and `stop`.

    On a machine that has other work, the processor's time says more than the clock's. It is that
    of this process, of all its threads together.
    """

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.processor_s = 0.0
        self.start()

    def start(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.elapsed_s += time.perf_counter() - self._started[0]
        self.processor_s += time.process_time() - self._started[1]

    def to_dict(self) -> dict[str, float]:
        """As in an item's ``timings_s``."""
        return {"separate": self.elapsed_s, "separate_processor": self.processor_s}
