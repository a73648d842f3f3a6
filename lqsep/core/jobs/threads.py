"""Several tasks at a time in threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    jobs: int,
    *,
    stop: threading.Event | None = None,
) -> Iterator[Result]:
    """What ``work`` gives for every task, in the order of the tasks, whatever ``jobs`` is.

    When a task fails, or whoever iterates goes no further, tasks that wait are not begun, and
    those that run are waited for.

    Args:
        work: Called in other threads, several times at once.
        tasks: All of them are taken before the first result is given.
        jobs: Tasks worked on at a time.
        stop: Set when it ends early, for running tasks to look at.
    """
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(work, tasks)
        except BaseException:
            if stop is not None:
                stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
