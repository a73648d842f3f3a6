"""Score the items of a data set one after the other, each into a file of its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqsep.cli.data.choice import DatasetChoice
from lqsep.cli.jobs.faults import unexpected
from lqsep.cli.jobs.setup import OnProgress, WorkerSetup
from lqsep.core.components.registry import Registry
from lqsep.core.errors import ConfigError, LqsepError
from lqsep.core.files.new_file import write_text

if TYPE_CHECKING:
    from lqsep.core.evaluation.baselines_of import Baselines
    from lqsep.core.evaluation.items import EvaluationItem
    from lqsep.core.evaluation.protocols import Protocol
    from lqsep.core.interfaces.dataset import Dataset
    from lqsep.core.separation.separator import Separator

ITEMS = "items"
EXAMPLES = "examples"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ItemTask:
    """An item to score, and whether its sounds are kept."""

    item: EvaluationItem
    is_example: bool


@dataclass(frozen=True)
class ItemResult:
    """What became of an item: its file is there, or why it is not."""

    item: str
    error: str | None = None


@dataclass(frozen=True)
class ItemSetup(WorkerSetup[ItemTask, ItemResult]):
    """Tasks are items of a data set; nothing of them but their files is kept.

    Args:
        dataset: Where they come from.
        protocol: How they are scored.
        seed: Of the samplers.
        baselines: What is computed beside the model; None for nothing.
        out: Folder of the results.
    """

    dataset: DatasetChoice
    protocol: Protocol
    seed: int
    baselines: Baselines | None
    out: Path

    def start(self) -> Callable[[ItemTask, OnProgress | None], ItemResult]:
        separator = self.build()
        dataset = self.dataset.open(separator.sources, Registry.discover())

        def work(task: ItemTask, report: OnProgress | None) -> ItemResult:
            return run_item(separator, dataset, task, self)

        return work

    def failed(self, task: ItemTask, error: str) -> ItemResult:
        return ItemResult(task.item.item, error)


def run_item(
    separator: Separator, dataset: Dataset, task: ItemTask, setup: ItemSetup
) -> ItemResult:
    """Score one item and write its files; what is wrong with it alone becomes its result.

    Raises:
        LqsepError: The pipeline or the protocol is at fault (exit code 2 or 3).
    """
    name = task.item.item
    logger.info("evaluating %s", name)
    try:
        _score(separator, dataset, task, setup)
    except LqsepError as error:
        if error.exit_code != 1:
            raise
        if setup.options.debug:
            logger.error("%s failed, as the traceback above tells", name, exc_info=True)
        return ItemResult(name, str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # one item's failure must not stop the others
        return ItemResult(name, unexpected(f"evaluating {name}", error))
    return ItemResult(name)


def _score(separator: Separator, dataset: Dataset, task: ItemTask, setup: ItemSetup) -> None:
    from lqsep.core.evaluation.evaluate import evaluate_item
    from lqsep.core.evaluation.page.sounds import save_example

    result, media = evaluate_item(
        separator,
        dataset,
        task.item,
        setup.protocol,
        seed=setup.seed,
        baselines=setup.baselines,
    )
    if task.is_example:
        save_example(media, setup.out / EXAMPLES / task.item.item)
    # The last file: an item with a result is complete.
    write_text(item_path(setup.out, task.item.item), json.dumps(result, indent=2) + "\n")


def item_path(out: Path, item: str) -> Path:
    """The file of an item's result."""
    return out / ITEMS / f"{item}.json"


def is_done(out: Path, task: ItemTask, sources: Sequence[str]) -> bool:
    """Whether an item has its result, and its sounds where they are wanted."""
    from lqsep.core.evaluation.page.sounds import Example

    if not item_path(out, task.item.item).is_file():
        return False
    folder = out / EXAMPLES / task.item.item
    return not task.is_example or Example.find(folder, sources) is not None


def read_result(out: Path, item: str) -> Mapping[str, Any] | None:
    """An item's result; None where there is none.

    Raises:
        ConfigError: The file is not one.
    """
    path = item_path(out, item)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read {path}: {error}; delete it to have the item done again"
        ) from error
    if not isinstance(result, dict) or "scores" not in result:
        raise ConfigError(
            f"{path} is not the result of an item; delete it to have the item done again"
        )
    return result
