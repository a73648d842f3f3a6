"""Box plots as SVG text that stands in a page: colours come from the page's style sheet."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

# In units of the picture, which the page scales to its width.
_WIDTH = 720.0
_LABELS = 130.0
_RIGHT = 16.0
_ROW = 34.0
_AXIS = 40.0
_BOX = 14.0

# Points lie on so many lines within a row, in turn, so that equal values stay apart.
_LANES = (0.0, 5.0, -5.0, 9.0, -9.0)

_N_TICKS = 7


class Box(NamedTuple):
    """Five numbers of a box plot: the whiskers end at the last values within 1.5 boxes."""

    low: float
    first: float
    median: float
    third: float
    high: float


def box(values: Sequence[float]) -> Box:
    """Quartiles by linear interpolation, and Tukey's whiskers. At least one value, all finite."""
    if len(values) == 1:
        return Box(*([float(values[0])] * 5))
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    reach = 1.5 * (third - first)
    low = min(value for value in values if value >= first - reach)
    high = max(value for value in values if value <= third + reach)
    return Box(low, first, median, third, high)


def box_plot(
    rows: Mapping[str, Mapping[str, float]],
    title: str,
    unit: str,
    classes: Mapping[str, str] | None = None,
) -> str:
    """One lying box per row, with every value as a point and the mean as a diamond.

    Args:
        rows: By label: the values by what they belong to, which a point shows under the mouse.
            Rows without a finite value are drawn empty.
        title: What is drawn, for those who cannot see it.
        unit: Of the axis.
        classes: Of rows in the style sheet, by label.

    Returns:
        An ``<svg>`` element; the same arguments give the same text.
    """
    finite = {
        label: {name: value for name, value in row.items() if math.isfinite(value)}
        for label, row in rows.items()
    }
    ticks = _ticks([value for row in finite.values() for value in row.values()])
    height = _ROW * len(rows) + _AXIS
    parts = [
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">',
        *_axis(ticks, _ROW * len(rows), unit),
    ]
    for index, (label, row) in enumerate(finite.items()):
        middle = _ROW * (index + 0.5)
        kind = (classes or {}).get(label, "")
        parts.append(f'<g class="{escape(kind)}">')
        place = f'x="{_LABELS - 10:.0f}" y="{middle + 4:.1f}"'
        parts.append(f'<text class="label" {place}>{escape(label)}</text>')
        parts += _row(row, ticks, middle, unit)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"])


def _row(row: Mapping[str, float], ticks: Sequence[float], middle: float, unit: str) -> list[str]:
    if not row:
        return []
    values = list(row.values())
    low, first, median, third, high = (_place(value, ticks) for value in box(values))
    top, half = middle - _BOX / 2, _BOX / 2
    parts = [
        f'<path class="whisker" d="M{low:.1f} {middle:.1f}H{first:.1f}M{third:.1f} {middle:.1f}'
        f"H{high:.1f}M{low:.1f} {middle - half / 2:.1f}v{half:.1f}"
        f'M{high:.1f} {middle - half / 2:.1f}v{half:.1f}"/>',
        f'<rect class="box" x="{first:.1f}" y="{top:.1f}" width="{max(third - first, 1):.1f}" '
        f'height="{_BOX:.0f}"/>',
    ]
    for index, (name, value) in enumerate(row.items()):
        offset = _LANES[index % len(_LANES)]
        parts.append(
            f'<circle class="point" cx="{_place(value, ticks):.1f}" cy="{middle + offset:.1f}" '
            f'r="2"><title>{escape(name)}: {value:.2f} {escape(unit)}</title></circle>'
        )
    mean = _place(statistics.fmean(values), ticks)
    parts.append(f'<path class="median" d="M{median:.1f} {top:.1f}v{_BOX:.0f}"/>')
    parts.append(f'<path class="mean" d="M{mean:.1f} {middle - 5:.1f}l5 5l-5 5l-5 -5z"/>')
    return parts


def _axis(ticks: Sequence[float], bottom: float, unit: str) -> list[str]:
    step = ticks[1] - ticks[0]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    parts = []
    for tick in ticks:
        x = _place(tick, ticks)
        kind = "zero" if abs(tick) < step / 2 else "grid"
        parts.append(f'<path class="{kind}" d="M{x:.1f} 0V{bottom:.0f}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{bottom + 16:.0f}">{tick + 0.0:.{digits}f}</text>'
        )
    center = (_LABELS + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="tick" x="{center:.1f}" y="{bottom + 33:.0f}">{escape(unit)}</text>')
    return parts


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers, evenly spaced, that embrace the values."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = max(high - low, 1e-3 * max(abs(low), abs(high), 1.0))
    rough = span / (_N_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(start, max(stop, start + 1) + 1)]


def _place(value: float, ticks: Sequence[float]) -> float:
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return _LABELS + share * (_WIDTH - _LABELS - _RIGHT)
