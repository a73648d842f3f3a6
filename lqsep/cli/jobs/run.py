"""Several tasks, one after the other here or several at a time in worker processes.

What is done with a task is the same either way, and so are the results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from lqsep.cli.jobs.setup import Result, Task, WorkerSetup


def run_tasks(
    tasks: Sequence[Task],
    jobs: int,
    setup: WorkerSetup[Task, Result],
    on_progress: Callable[[Task, float, float], None],
    on_result: Callable[[Result], None],
) -> None:
    """Do all tasks.

    Args:
        tasks: Without any, nothing is loaded.
        jobs: How many at a time, each in a process of its own; a single one is done here.
        setup: What is done with a task.
        on_progress: Called with a task, how far it is and of how much.
        on_result: Called once per task, in the order in which they are finished.

    Raises:
        LqsepError: The model cannot be loaded, or the pipeline is at fault; no work goes on.
    """
    if min(jobs, len(tasks)) > 1:
        from lqsep.cli.jobs.processes import run_in_processes

        run_in_processes(tasks, jobs, setup, on_progress, on_result)
    elif tasks:
        work = setup.start()
        for task in tasks:
            on_result(work(task, partial(on_progress, task)))
