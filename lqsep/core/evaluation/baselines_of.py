"""What every table is read against: baselines and upper bounds, as they stand in the mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lqsep.core.baselines import HpssSetting
from lqsep.core.evaluation.items import EvaluationItem
from lqsep.core.evaluation.protocols import Protocol
from lqsep.core.interfaces.dataset import Dataset


@dataclass(frozen=True)
class Baselines:
    """Which are computed beside the model: all of them, ``hpss`` if it was fitted.

    Args:
        hpss: Setting of the median filters; None leaves this baseline out.
        notes: What a reader should know, for every item.
    """

    hpss: HpssSetting | None = None
    notes: tuple[str, ...] = ()


def fit_baselines(
    dataset: Dataset,
    items: Sequence[EvaluationItem],
    protocol: Protocol,
    *,
    sources: Sequence[str],
    gains: Sequence[float],
) -> Baselines:
    """Choose the median filters' sizes for a data set: once, before its items are scored.

    Args:
        dataset: Tracks with their stems.
        items: Of `plan_items`.
        protocol: The same as theirs.
        sources: The model's.
        gains: The model's.
    """
    raise NotImplementedError
