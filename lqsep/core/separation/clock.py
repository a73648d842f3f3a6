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
        self.seconds: dict[str, float] = dict(seconds or {})
        self.stage = ""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        outer, self.stage = self.stage, stage
        start, before = time.perf_counter(), sum(self.seconds.values())
        yield
        within = sum(self.seconds.values()) - before
        spent = time.perf_counter() - start - within
        self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
        self.stage = outer
