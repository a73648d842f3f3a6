"""One item: separate it, and compare what was found with what is true."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from lqsep.core.evaluation.baselines_of import Baselines
from lqsep.core.evaluation.items import EvaluationItem
from lqsep.core.evaluation.protocols import Protocol
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.pipeline import Separator

SCHEMA_VERSION = 1

Wave = npt.NDArray[np.float32]


class Media(TypedDict):
    """What to listen to; waves float32, ``channels samples``, as they stand in the mixture."""

    sample_rate: int
    mixture: Wave
    estimates: dict[str, Wave]
    references: dict[str, Wave]


def evaluate_item(
    separator: Separator,
    dataset: Dataset,
    item: EvaluationItem,
    protocol: Protocol,
    *,
    seed: int = 0,
    baselines: Baselines | None = None,
) -> tuple[dict[str, Any], Media]:
    """Score one item; the same for the same separator, item and seed.

    Args:
        separator: The pipeline.
        dataset: Where the item comes from.
        item: Of `plan_items`.
        protocol: The same as the plan's.
        seed: As ``lqsep separate --seed``.
        baselines: Computed beside the model when given, see `fit_baselines`.

    Returns:
        The item's result, plain values for JSON: ``schema_version``, ``item``, ``track``,
        ``start_s``, ``duration_s``, ``protocol``, ``model``, ``seed``, ``scores`` (a list of
        ``estimate``, ``source``, ``metric``, ``reference``, ``value``; a value that is not finite
        is None), ``timings_s``, ``notes``. And the pipeline's own stems to listen to.

    Raises:
        ConfigError: museval is needed and not installed.
        AudioError: A file cannot be read.
    """
    raise NotImplementedError
