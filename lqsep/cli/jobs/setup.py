"""What work on tasks needs to start, in this process or in another."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from lqsep.cli.jobs.heap import give_back_what_is_freed
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

        give_back_what_is_freed()
        registry = Registry.discover()
        config = self.pipeline.parse(registry)
        separator = Separator.from_config(
            config, registry=registry, device=self.device, name=self.pipeline.name
        )
        logger.info("model %s loaded on %s", separator.name, separator.device)
        return separator
