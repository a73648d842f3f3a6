"""Seconds that the stages of a separation take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class StageClock:
    """Seconds by stage, and the stage last entered. A stage within another is counted by itself.

    Args:
        seconds: Spent before, by stage.
    """

    def __init__(self, seconds: Mapping[str, float] | None = None) -> None:
        self._seconds: dict[str, float] = dict(seconds or {})
        self.stage = ""

    @property
    def seconds(self) -> dict[str, float]:
        """By stage, so far; what is spent later does not change it."""
        return dict(self._seconds)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        outer, self.stage = self.stage, stage
        start, before = time.perf_counter(), sum(self._seconds.values())
        yield
        within = sum(self._seconds.values()) - before
        spent = time.perf_counter() - start - within
        self._seconds[stage] = self._seconds.get(stage, 0.0) + spent
        self.stage = outer
