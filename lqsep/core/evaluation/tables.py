"""The summary as text: comma-separated values, and tables in Markdown."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, fields

from lqsep.core.evaluation.summary import Summary, SummaryRow

METRIC_NAMES = {
    "sdr": "SDR",
    "isr": "ISR",
    "sir": "SIR",
    "sar": "SAR",
    "si_sdr": "SI-SDR",
    "si_sdri": "SI-SDRi",
    "rejection": "rejection",
}
"""As people read them."""

REFERENCE_NAMES = {
    "original": "the original stems",
    "decoded": "the stems after the codec's round trip",
}
"""What estimates are compared with, likewise."""


def heading(metric: str, reference: str) -> str:
    """Of the figures of one metric against one kind of reference."""
    name = METRIC_NAMES.get(metric, metric)
    return f"{name} against {REFERENCE_NAMES.get(reference, reference)}"


def to_csv(summary: Summary) -> str:
    """One line per row, columns as the fields of `SummaryRow`; nothing where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(SummaryRow)])
    writer.writerows(astuple(row) for row in summary.rows)
    return text.getvalue()


def to_markdown(summary: Summary) -> str:
    """A heading with the run's facts, then one table per metric and reference."""
    speed = _figure(summary.seconds_per_second)
    lines = [
        f"## {summary.model}: {summary.protocol}",
        "",
        f"{summary.n_items} items of {summary.n_tracks} tracks, seed {summary.seed}; {speed} "
        "seconds of computation per second of audio. Figures in dB; the interval is that of the "
        f"{summary.statistic}, 95 %, from bootstrap samples of tracks.",
    ]
    for metric, reference in dict.fromkeys((row.metric, row.reference) for row in summary.rows):
        lines += [
            "",
            f"### {heading(metric, reference)}",
            "",
            "| estimate | source | n | undefined | mean | median | 95 % interval | windows "
            "| undefined windows |",
            "|---|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        lines += [
            f"| {row.estimate} | {row.source} | {row.n} | {row.n_undefined} | {_figure(row.mean)} "
            f"| {_figure(row.median)} | {_interval(row)} | {row.n_windows} "
            f"| {row.n_undefined_windows} |"
            for row in summary.rows
            if (row.metric, row.reference) == (metric, reference)
        ]
    if summary.notes:
        lines += ["", *(f"- {note}" for note in summary.notes)]
    return "\n".join(lines) + "\n"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _interval(row: SummaryRow) -> str:
    if row.ci_low is None or row.ci_high is None:
        return ""
    return f"{row.ci_low:.2f} to {row.ci_high:.2f}"
