"""A progress bar on stderr: on a terminal only, and only for what takes over two seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lqsep.cli.console.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

DELAY_S = 2.0


class ProgressBars:
    """One bar per running item. Does nothing when ``enabled`` is False; a context manager."""

    def __init__(self, *, enabled: bool | None = None) -> None:
        self._enabled = sys.stderr.isatty() if enabled is None else enabled
        self._start = time.monotonic()
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def update(self, name: str, done: float, total: float) -> None:
        """Show how far an item is, from its beginning on; the bar appears after two seconds."""
        if not self._enabled or time.monotonic() - self._start < DELAY_S:
            return
        if self._progress is None:
            self._progress = _new_progress()
            self._progress.start()
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(printable(name), total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)

    def finish(self, name: str) -> None:
        """Take the item's bar away."""
        task = self._tasks.pop(name, None)
        if task is not None and self._progress is not None:
            self._progress.remove_task(task)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Clear the bars while something else is printed."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        yield
        self._progress.start()

    def close(self) -> None:
        """Clear the bars for good."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._enabled = False

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _new_progress() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Results go to stdout, which may be a file: rich would send them to the bar's stderr.
        redirect_stdout=False,
    )
