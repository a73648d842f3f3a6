"""Box plots: where the marks lie. How they look is the template's and the style sheet's."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# In units of the picture, which the page scales to its width.
_WIDTH = 720
_LABELS = 130
_RIGHT = 16
_ROW = 34
_AXIS = 40

# Points lie on so many lines within a row, in turn, so that equal values stay apart.
_LANES = (0, 5, -5, 9, -9)

_N_TICKS = 7


class Box(NamedTuple):
    """Five numbers of a box plot: the whiskers end at the last values within 1.5 boxes."""

    low: float
    first: float
    median: float
    third: float
    high: float


class Point(NamedTuple):
    """One value: where it lies, ``y`` from the middle of its row, and what it is of."""

    x: float
    y: float
    name: str
    value: float


class Tick(NamedTuple):
    """A line of the grid and its number, as text."""

    x: float
    text: str
    is_zero: bool


@dataclass(frozen=True)
class ChartRow:
    """One lying box.

    Args:
        label: At its left end.
        y: Of its middle.
        points: All values.
        box: Places of the five numbers; None without values. ``mean`` likewise.
    """

    label: str
    y: float
    points: Sequence[Point]
    box: Box | None
    mean: float | None


@dataclass(frozen=True)
class Chart:
    """Lying boxes, one below the other, over one axis.

    Args:
        title: What is drawn.
        unit: Of the axis.
        ticks: Of the axis.
        rows: From top to bottom.
    """

    title: str
    unit: str
    ticks: Sequence[Tick]
    rows: Sequence[ChartRow]

    width = _WIDTH
    label_x = _LABELS - 10
    unit_x = (_LABELS + _WIDTH - _RIGHT) / 2

    @property
    def bottom(self) -> int:
        """Where the axis is."""
        return _ROW * len(self.rows)

    @property
    def height(self) -> int:
        return self.bottom + _AXIS


def box(values: Sequence[float]) -> Box:
    """Quartiles by linear interpolation, and Tukey's whiskers. At least one value, all finite."""
    if len(values) == 1:
        return Box(*([float(values[0])] * 5))
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    reach = 1.5 * (third - first)
    low = min(value for value in values if value >= first - reach)
    high = max(value for value in values if value <= third + reach)
    return Box(low, first, median, third, high)


def box_plot(rows: Mapping[str, Mapping[str, float]], title: str, unit: str) -> Chart:
    """One lying box per row, with every value as a point, and the mean.

    Args:
        rows: By label: the values by what they belong to. Rows without a finite value are empty.
        title: What is drawn.
        unit: Of the axis.
    """
    finite = {
        label: {name: value for name, value in row.items() if math.isfinite(value)}
        for label, row in rows.items()
    }
    marks = _marks([value for row in finite.values() for value in row.values()])
    step = marks[1] - marks[0]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = [
        Tick(_place(mark, marks), f"{mark + 0.0:.{digits}f}", abs(mark) < step / 2)
        for mark in marks
    ]
    drawn = [_row(number, label, row, marks) for number, (label, row) in enumerate(finite.items())]
    return Chart(title, unit, ticks, drawn)


def _row(number: int, label: str, row: Mapping[str, float], marks: Sequence[float]) -> ChartRow:
    values = list(row.values())
    points = [
        Point(_place(value, marks), _LANES[place % len(_LANES)], name, value)
        for place, (name, value) in enumerate(row.items())
    ]
    return ChartRow(
        label=label,
        y=_ROW * (number + 0.5),
        points=points,
        box=Box(*(_place(value, marks) for value in box(values))) if values else None,
        mean=_place(statistics.fmean(values), marks) if values else None,
    )


def _marks(values: Sequence[float]) -> list[float]:
    """Round numbers, evenly spaced, that embrace the values."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = max(high - low, 1e-3 * max(abs(low), abs(high), 1.0))
    rough = span / (_N_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(start, max(stop, start + 1) + 1)]


def _place(value: float, marks: Sequence[float]) -> float:
    share = (value - marks[0]) / (marks[-1] - marks[0])
    return _LABELS + share * (_WIDTH - _LABELS - _RIGHT)
