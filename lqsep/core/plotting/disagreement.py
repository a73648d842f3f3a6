"""Picture of where a separation is unsure: how far its candidates differ, second by second.

Needs matplotlib, imported on use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lqsep.core.plotting.spectrograms import new_figure, save_figure
from lqsep.core.separation.report import SegmentReport

# Of the reports' curves, see `lqsep.core.signal.disagreement`.
_WINDOW_S = 1.0

# The scale is logarithmic and ends here, at full agreement: where music is easy the curve stays
# below 0.1.
_LEAST = 1e-3


def plot_disagreement(segments: Sequence[SegmentReport], path: str | Path) -> Path:
    """Draw the disagreement of the whole input over time, one curve per source, as one PNG file.

    The scale of the shares is logarithmic.

    Args:
        segments: Of the whole input, in order, at least one; where they overlap the earlier one's
            curve is drawn.
        path: The file; replaced if it exists.

    Returns:
        The path.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    path = Path(path)
    sources = list(segments[0].disagreement)
    figure = new_figure(12, 1 + 2 * len(sources))
    figure.suptitle(
        f"disagreement of the candidates: {_LEAST:g} or less the same sound, 1 nothing in common"
    )
    axes = figure.subplots(len(sources), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    for number, (axis, source) in enumerate(zip(axes, sources, strict=True)):
        edges, values = joined_curve(segments, source)
        shown = [max(value, _LEAST) for value in values]
        axis.stairs(shown, edges, baseline=None, linewidth=2, color=f"C{number}")
        axis.set_yscale("log")
        axis.set_title(source, parse_math=False)
        axis.set_ylabel("share of energy")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.grid(alpha=0.5)
    axes[-1].set_xlabel("time (s)")
    axes[-1].set_xlim(segments[0].start_s, segments[-1].stop_s)
    # Above and below, room for the line itself.
    axes[-1].set_ylim(_LEAST * 0.8, 1.25)
    save_figure(figure, path)
    return path


def joined_curve(segments: Sequence[SegmentReport], source: str) -> tuple[list[float], list[float]]:
    """A source's disagreement over the whole input.

    Returns:
        Where the windows begin, in seconds, then where the last one ends; and a value per window.
        A segment's windows reach up to where the next segment starts.
    """
    edges: list[float] = []
    values: list[float] = []
    stops = [*(segment.start_s for segment in segments[1:]), segments[-1].stop_s]
    for segment, stop_s in zip(segments, stops, strict=True):
        for number, value in enumerate(segment.disagreement[source]):
            start_s = segment.start_s + number * _WINDOW_S
            # Rounding to the codec's rate may add a window after the end.
            if start_s < stop_s:
                edges.append(start_s)
                values.append(value)
    return [*edges, stops[-1]], values
