"""All items together: tables of figures with their uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

ALL_SOURCES = "all sources"
"""Name of the rows over all sources: of every item the mean over its sources."""


@dataclass(frozen=True)
class SummaryRow:
    """Figures of one estimate of one source, in dB over items; None where there is none.

    Args:
        estimate: ``lqsep`` and the others, see `lqsep.core.evaluation.evaluate`.
        source: A source's name or `ALL_SOURCES`.
        metric: Such as ``sdr``.
        reference: ``original`` or ``decoded``.
        n: Items with a value.
        n_undefined: Items without: a silent source, say.
        mean: Over the ``n`` items.
        median: Over the ``n`` items; under ``museval-v4`` this is the cSDR and its like.
        ci_low: Lower end of the 95 % interval of the summary's ``statistic``.
        ci_high: Upper end.
    """

    estimate: str
    source: str
    metric: str
    reference: str
    n: int
    n_undefined: int
    mean: float | None
    median: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class Summary:
    """What a data set's items say.

    Args:
        protocol: Its name.
        model: The model's name.
        seed: Of the separations.
        statistic: Which figure is quoted and has the interval.
        n_items: Items, and ``n_tracks`` the tracks that they are of.
        seconds_per_second: Seconds of computation per second of audio, separation only.
        rows: In the order of the items' scores, all sources after the single ones.
        notes: All different notes of the items, with the number of items that have them.
    """

    protocol: str
    model: str
    seed: int
    statistic: Literal["mean", "median"]
    n_items: int
    n_tracks: int
    seconds_per_second: float | None
    rows: tuple[SummaryRow, ...]
    notes: tuple[str, ...]


def summarise(results: Iterable[Mapping[str, Any]]) -> Summary:
    """Figures over items.

    Intervals are percentiles of 2000 bootstrap samples *of tracks* (chunks of one track are
    alike), with a fixed seed; with fewer than two tracks there are none.

    Args:
        results: What `evaluate_item` gave, or the same read back from JSON; of one protocol,
            model and seed.

    Raises:
        ConfigError: No results, or they differ in protocol, model or seed.

    Reference: Efron and Tibshirani 1993, "An introduction to the bootstrap", chapters 8 and 13.
    """
    raise NotImplementedError


def to_csv(summary: Summary) -> str:
    """One line per row, columns as the fields of `SummaryRow`; nothing where there is no value."""
    raise NotImplementedError


def to_markdown(summary: Summary) -> str:
    """A heading with the run's facts, then one table per metric and reference."""
    raise NotImplementedError
