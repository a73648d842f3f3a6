"""One page that shows an evaluation: tables, box plots, spectrograms, sounds.

A single file that loads nothing else, so that it opens offline and can be sent. It holds no date:
the same results give the same page.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqsep.core.evaluation.page.charts import Chart, box_plot
from lqsep.core.evaluation.page.environment import page_environment
from lqsep.core.evaluation.page.sounds import (
    Example,
    excerpt_data,
    excerpt_seconds,
    spectrogram_data,
)
from lqsep.core.evaluation.protocols import Protocol, find_protocol
from lqsep.core.evaluation.summary import ALL_SOURCES, Summary, SummaryRow
from lqsep.core.evaluation.tables import METRIC_NAMES, heading

# What the pipeline finds by itself.
_OWN = ("lqsep", "marginal", "pair")

# What knows the true stems, by the first letters of its name, and what it bounds.
_BOUNDS = {
    "best-of-": "each source's best candidate as decoded; no choice among the candidates beats it",
    "codec": "the true stems through the codec; what is decoded can hardly beat it",
    "oracle-mask": "the mixture under masks made of the true stems; against the original stems "
    "other masks can hardly beat it",
}


@dataclass(frozen=True)
class _Section:
    """One metric against one kind of reference.

    Args:
        title: In words.
        sources: Columns of the table, all sources last.
        rows: By estimate and source; where there is none, there is no figure.
        windows: How many have a value, in words.
        charts: One per source.
    """

    title: str
    sources: Sequence[str]
    rows: Mapping[str, Mapping[str, SummaryRow]]
    windows: str
    charts: Sequence[Chart]


@dataclass(frozen=True)
class _Shown:
    """An example as data; ``stems`` by source, each the pipeline's and the true one."""

    title: str
    name: str
    picture: str
    mixture: str
    stems: Mapping[str, tuple[str, str]]


def render_page(
    settings: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    summary: Summary,
    examples: Sequence[Example] = (),
    failures: Mapping[str, str] | None = None,
) -> str:
    """The page's text.

    Args:
        settings: What was run, as in ``evaluation.json``.
        results: Of all items, see `lqsep.core.evaluation.evaluate.evaluate_item`.
        summary: Of these results.
        examples: Items to look at and listen to.
        failures: Why items have no result, by item.

    Raises:
        AudioError: A file of an example cannot be read.
        ConfigError: jinja2 is not installed, or there are examples and matplotlib is not.
    """
    protocol = find_protocol(summary.protocol)
    template = page_environment().get_template("report.html.jinja")
    seconds = excerpt_seconds(examples)
    estimates = list(dict.fromkeys(row.estimate for row in summary.rows))
    return template.render(
        title=f"{summary.model} under {summary.protocol}",
        protocol=protocol,
        facts=_facts(settings, summary),
        failures=failures or {},
        summary=summary,
        other_statistic="median" if summary.statistic == "mean" else "mean",
        sections=list(_sections(results, summary)),
        roles={estimate: _role(estimate) for estimate in estimates},
        bounds={e: text for e in estimates if (text := _bound(e)) is not None},
        excerpt_s=seconds,
        examples=list(_examples(examples, results, seconds)),
        by_item=_by_item(results, summary, protocol),
        settings=json.dumps(settings, indent=2),
    )


def _facts(settings: Mapping[str, Any], summary: Summary) -> dict[str, str]:
    dataset = settings.get("dataset", {})
    speed = summary.seconds_per_second
    facts = {
        "Model": summary.model,
        "Codec": str(settings.get("codec_fingerprint", ""))[:16],
        "Data set": " ".join(str(dataset.get(key) or "") for key in ("type", "name", "split")),
        "Sources": ", ".join(settings.get("sources", ())),
        "Items": f"{summary.n_items} of {summary.n_tracks} tracks",
        "Seed": str(summary.seed),
        "Computation": "" if speed is None else f"{speed:.2f} s per second of audio",
        "Versions": ", ".join(f"{k} {v}" for k, v in settings.get("versions", {}).items()),
    }
    return {name: fact for name, fact in facts.items() if fact.strip()}


def _sections(results: Sequence[Mapping[str, Any]], summary: Summary) -> Iterator[_Section]:
    for metric, reference in dict.fromkeys((row.metric, row.reference) for row in summary.rows):
        table: dict[str, dict[str, SummaryRow]] = {}
        for row in summary.rows:
            if (row.metric, row.reference) == (metric, reference):
                table.setdefault(row.estimate, {})[row.source] = row
        sources = list(dict.fromkeys(source for rows in table.values() for source in rows))
        charts = [
            box_plot(
                _values(results, metric, reference, source),
                f"{METRIC_NAMES.get(metric, metric)} of {source}, {summary.n_items} items",
                "dB",
            )
            for source in sources
            if source != ALL_SOURCES
        ]
        title = heading(metric, reference)
        yield _Section(title, sources, table, _windows(table, sources), charts)


def _windows(table: Mapping[str, Mapping[str, SummaryRow]], sources: Sequence[str]) -> str:
    """How many windows have a value, by source; estimates of which there are others by name."""
    parts = []
    for source in sources:
        if source == ALL_SOURCES:
            continue
        counts = {
            estimate: (
                row[source].n_windows - row[source].n_undefined_windows,
                row[source].n_windows,
            )
            for estimate, row in table.items()
            if source in row
        }
        usual = Counter(counts.values()).most_common(1)[0][0]
        parts.append(f"{source} {usual[0]} of {usual[1]}")
        parts += [
            f"{source} of {estimate} {count[0]} of {count[1]}"
            for estimate, count in counts.items()
            if count != usual
        ]
    return f"Windows with a value: {', '.join(parts)}."


def _examples(
    examples: Sequence[Example], results: Sequence[Mapping[str, Any]], seconds: float
) -> Iterator[_Shown]:
    known = {result["item"]: result for result in results}
    for example in examples:
        yield _Shown(
            title=_describe(known[example.name]),
            name=example.name,
            picture=spectrogram_data(example, seconds),
            mixture=excerpt_data(example.mixture, seconds),
            stems={
                source: (
                    excerpt_data(path, seconds),
                    excerpt_data(example.references[source], seconds),
                )
                for source, path in example.estimates.items()
            },
        )


def _by_item(
    results: Sequence[Mapping[str, Any]], summary: Summary, protocol: Protocol
) -> dict[str, Any]:
    """The most important metric of every item: its name, columns, and values by item."""
    metric, reference = protocol.metrics[0], protocol.references[0]
    columns = [
        (row.estimate, row.source)
        for row in summary.rows
        if (row.metric, row.reference) == (metric, reference) and row.source != ALL_SOURCES
    ]
    scores = [_scores_of(result, metric, reference) for result in results]
    rows = [
        (_describe(result), [values.get(column) for column in columns])
        for result, values in zip(results, scores, strict=True)
    ]
    return {"metric": METRIC_NAMES[metric], "columns": columns, "rows": rows}


def _values(
    results: Sequence[Mapping[str, Any]], metric: str, reference: str, source: str
) -> dict[str, dict[str, float]]:
    """By estimate, then by item; items without a value are left out."""
    values: dict[str, dict[str, float]] = {}
    for result in results:
        for (estimate, of), value in _scores_of(result, metric, reference).items():
            row = values.setdefault(estimate, {}) if of == source else {}
            if value is not None:
                row[_describe(result)] = value
    return values


def _scores_of(
    result: Mapping[str, Any], metric: str, reference: str
) -> dict[tuple[str, str], float | None]:
    """Values of one item by estimate and source."""
    return {
        (score["estimate"], score["source"]): score["value"]
        for score in result["scores"]
        if (score["metric"], score["reference"]) == (metric, reference)
    }


def _describe(result: Mapping[str, Any]) -> str:
    start = result["start_s"]
    return f"{result['track']} from {start:.1f} s" if start else str(result["track"])


def _bound(estimate: str) -> str | None:
    return next((text for name, text in _BOUNDS.items() if estimate.startswith(name)), None)


def _role(estimate: str) -> str:
    """What it is called in the style sheet."""
    if estimate in _OWN:
        return "own"
    return "base" if _bound(estimate) is None else "bound"
