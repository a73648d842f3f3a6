"""All items together: figures with their uncertainty."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lqsep.core.errors import ConfigError
from lqsep.core.evaluation.protocols import find_protocol

ALL_SOURCES = "all sources"
"""Name of the rows over all sources: of every item the mean over its sources."""

# Bootstrap samples, and the seed that makes tables the same every time.
_SAMPLES = 2000
_SEED = 0

Result = Mapping[str, Any]
Key = tuple[str, str, str]
"""Estimate, metric, reference."""


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
        n_windows: Windows of all items.
        n_undefined_windows: Of these, how many have no value and do not count.
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
    n_windows: int
    n_undefined_windows: int


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


def summarise(results: Iterable[Result]) -> Summary:
    """Figures over items.

    Intervals are percentiles of 2000 bootstrap samples *of tracks* (chunks of one track are
    alike), with a fixed seed; with fewer than two tracks there are none. With few tracks they are
    too narrow.

    Args:
        results: What `evaluate_item` gave, or the same read back from JSON; of one protocol,
            model and seed.

    Raises:
        ConfigError: No results, or they differ in protocol, model or seed.

    Reference: Efron and Tibshirani 1993, "An introduction to the bootstrap", chapters 8 and 13.
    """
    results = sorted(results, key=lambda result: str(result["item"]))
    runs = {(str(r["protocol"]), str(r["model"]), int(r["seed"])) for r in results}
    if len(runs) != 1:
        found = ", ".join(map(str, sorted(runs))) or "none"
        raise ConfigError(
            f"evaluation: expected results of one protocol, model and seed, got {found}. "
            "Use another output folder for each run."
        )
    protocol, model, seed = runs.pop()
    statistic = find_protocol(protocol).statistic
    duration_s = sum(float(r["duration_s"]) for r in results)
    elapsed_s = sum(float(r["timings_s"]["separate"]) for r in results)
    return Summary(
        protocol=protocol,
        model=model,
        seed=seed,
        statistic=statistic,
        n_items=len(results),
        n_tracks=len({r["track"] for r in results}),
        seconds_per_second=elapsed_s / duration_s if duration_s > 0 else None,
        rows=tuple(_rows(results, statistic)),
        notes=tuple(_notes(results)),
    )


def _rows(results: Sequence[Result], statistic: str) -> Iterable[SummaryRow]:
    """Sources one by one, then all: of every item the mean over its sources, if it has all."""
    keys: dict[Key, dict[str, None]] = {}
    values: dict[tuple[Key, str, int], float] = {}
    windows: Counter[tuple[Key, str]] = Counter()
    undefined: Counter[tuple[Key, str]] = Counter()
    for number, result in enumerate(results):
        for score in result["scores"]:
            key = (score["estimate"], score["metric"], score["reference"])
            keys.setdefault(key, {})[score["source"]] = None
            value = score["value"]
            values[key, score["source"], number] = math.nan if value is None else float(value)
            for source in (score["source"], ALL_SOURCES):
                windows[key, source] += score["n_windows"]
                undefined[key, source] += score["n_undefined"]
    tracks = [str(result["track"]) for result in results]
    for key, sources in keys.items():
        table = np.array(
            [[values.get((key, s, n), math.nan) for n in range(len(results))] for s in sources]
        )
        of_source = dict(zip(sources, table, strict=True))
        if len(sources) > 1:
            of_source[ALL_SOURCES] = table.mean(0)
        for source, row in of_source.items():
            counts = windows[key, source], undefined[key, source]
            yield _row(key, source, row, tracks, statistic, counts)


def _row(
    key: Key,
    source: str,
    values: npt.NDArray[np.float64],
    tracks: Sequence[str],
    statistic: str,
    windows: tuple[int, int],
) -> SummaryRow:
    estimate, metric, reference = key
    kept = np.isfinite(values)
    finite = values[kept]
    low, high = _bootstrap(finite, [t for t, k in zip(tracks, kept, strict=True) if k], statistic)
    return SummaryRow(
        estimate=estimate,
        source=source,
        metric=metric,
        reference=reference,
        n=len(finite),
        n_undefined=len(values) - len(finite),
        mean=float(finite.mean()) if len(finite) else None,
        median=float(np.median(finite)) if len(finite) else None,
        ci_low=low,
        ci_high=high,
        n_windows=windows[0],
        n_undefined_windows=windows[1],
    )


def _bootstrap(
    values: npt.NDArray[np.float64], tracks: Sequence[str], statistic: str
) -> tuple[float, float] | tuple[None, None]:
    """95 % interval of the statistic over values, whole tracks drawn with replacement."""
    groups: dict[str, list[float]] = {}
    for track, value in zip(tracks, values.tolist(), strict=True):
        groups.setdefault(track, []).append(value)
    if len(groups) < 2:
        return None, None
    table = np.full((len(groups), max(map(len, groups.values()))), np.nan)
    for row, group in zip(table, groups.values(), strict=True):
        row[: len(group)] = group
    choices = np.random.default_rng(_SEED).integers(len(table), size=(_SAMPLES, len(table)))
    figure = np.nanmean if statistic == "mean" else np.nanmedian
    drawn = figure(table[choices].reshape(_SAMPLES, -1), axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _notes(results: Sequence[Result]) -> Iterable[str]:
    counts = Counter(note for result in results for note in dict.fromkeys(result["notes"]))
    for note, count in counts.items():
        yield note if count == len(results) else f"{note} ({count} of {len(results)} items)"
