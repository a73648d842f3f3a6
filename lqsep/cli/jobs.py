"""Several tasks, one after the other here or several at a time in worker processes.

What is done with a task is the same either way, and so are the results.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from lqsep.cli.options import GlobalOptions
from lqsep.cli.pipeline.changes import PipelineSource

if TYPE_CHECKING:
    from lqsep.core.separation.separator import Separator

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")

OnProgress = Callable[[float, float], None]


@dataclass(frozen=True)
class WorkerSetup(ABC, Generic[Task, Result]):
    """Everything that work on tasks needs to start; it, tasks and results travel by pickle."""

    pipeline: PipelineSource
    device: str
    options: GlobalOptions

    @abstractmethod
    def start(self) -> Callable[[Task, OnProgress | None], Result]:
        """Load the model; what works on one task, and reports how far it is of how much.

        What is wrong with a task alone becomes part of its result.

        Raises:
            LqsepError: No task can be done.
        """

    @abstractmethod
    def failed(self, task: Task, error: str) -> Result:
        """The result of a task whose worker has died."""

    def build(self) -> Separator:
        """Load the model.

        Raises:
            LqsepError: As `lqsep.Separator.from_pretrained`.
        """
        from lqsep.core.components.registry import Registry
        from lqsep.core.separation.separator import Separator

        registry = Registry.discover()
        config = self.pipeline.parse(registry)
        separator = Separator.from_config(
            config, registry=registry, device=self.device, name=self.pipeline.name
        )
        logger.info("model %s loaded on %s", separator.name, separator.device)
        return separator


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
        from lqsep.cli.worker_processes import run_in_processes

        run_in_processes(tasks, jobs, setup, on_progress, on_result)
    elif tasks:
        work = setup.start()
        for task in tasks:
            on_result(work(task, partial(on_progress, task)))
