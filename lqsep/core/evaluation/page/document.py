"""One page that shows an evaluation: tables, box plots, spectrograms, sounds.

A single file that loads nothing else, so that it opens offline and can be sent. It holds no date:
the same results give the same page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from lqsep.core.evaluation.page.charts import box_plot
from lqsep.core.evaluation.page.sounds import (
    Example,
    excerpt_seconds,
    read_excerpt,
    sound_data,
    spectrogram_data,
)
from lqsep.core.evaluation.page.style import STYLE
from lqsep.core.evaluation.protocols import find_protocol
from lqsep.core.evaluation.summary import ALL_SOURCES, Summary, SummaryRow
from lqsep.core.evaluation.tables import METRIC_NAMES, heading

_OWN = ("lqsep", "marginal", "pair")
_BOUNDS = ("codec", "oracle-mask")


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
        ConfigError: There are examples, and matplotlib is not installed.
    """
    title = f"{summary.model} under {summary.protocol}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(find_protocol(summary.protocol).summary)}.</p>',
        _facts(settings, summary),
        _failures(failures or {}),
        *_scores(results, summary),
        *_examples(examples, results),
        _items(results, summary),
        _notes(summary),
        f"<details><summary>Settings</summary><pre>{escape(json.dumps(settings, indent=2))}</pre>"
        "</details>",
    ]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<main>",
            *(part for part in body if part),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _facts(settings: Mapping[str, Any], summary: Summary) -> str:
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
    lines = [f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in facts.items() if v.strip()]
    return f'<dl class="facts">{"".join(lines)}</dl>'


def _failures(failures: Mapping[str, str]) -> str:
    if not failures:
        return ""
    lines = "".join(f"<li>{escape(f'{k}: {v}')}</li>" for k, v in failures.items())
    return (
        f'<div class="failed"><p>{len(failures)} items failed and are missing below:</p>'
        f"<ul>{lines}</ul></div>"
    )


def _scores(results: Sequence[Mapping[str, Any]], summary: Summary) -> Iterator[str]:
    """For every metric and reference a table, and a box plot for every source."""
    yield "<h2>Scores</h2>"
    yield (
        f'<p class="soft">The {summary.statistic} over items and its 95 % interval (bootstrap over '
        "tracks), in dB; higher is better. Blue: lqsep. Orange, dashed: upper bounds that know the "
        "true stems. Grey: baselines that need no model. In the box plots a box holds the middle "
        "half of the items, its line is the median, the diamond the mean.</p>"
    )
    for metric, reference in dict.fromkeys((row.metric, row.reference) for row in summary.rows):
        rows = [r for r in summary.rows if (r.metric, r.reference) == (metric, reference)]
        name = METRIC_NAMES.get(metric, metric)
        yield f"<h3>{escape(heading(metric, reference))}</h3>"
        yield _table(rows, summary.statistic)
        for source in dict.fromkeys(row.source for row in rows if row.source != ALL_SOURCES):
            values = _values(results, metric, reference, source)
            caption = f"{name} of {source}, {summary.n_items} items"
            chart = box_plot(values, caption, "dB", {label: _role(label) for label in values})
            yield f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(rows: Sequence[SummaryRow], statistic: str) -> str:
    sources = list(dict.fromkeys(row.source for row in rows))
    other = "median" if statistic == "mean" else "mean"
    groups = "".join(
        f'<th scope="colgroup" colspan="3">{escape(source)}</th>' for source in sources
    )
    columns = "".join(
        f'<th scope="col">{text}</th>' for text in (f"{statistic} [95 %]", other, "n")
    )
    lines = []
    for estimate in dict.fromkeys(row.estimate for row in rows):
        cells = []
        for source in sources:
            row = next((r for r in rows if (r.estimate, r.source) == (estimate, source)), None)
            cells.append(_cells(row, statistic, other))
        lines.append(
            f'<tr class="{_role(estimate)}"><th scope="row">{escape(estimate)}</th>'
            f"{''.join(cells)}</tr>"
        )
    return (
        f'<div class="scroll"><table><thead><tr><td></td>{groups}</tr>'
        f'<tr><th scope="col">estimate</th>{columns * len(sources)}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cells(row: SummaryRow | None, statistic: str, other: str) -> str:
    if row is None:
        return "<td>-</td><td>-</td><td>-</td>"
    quoted = _number(getattr(row, statistic))
    if row.ci_low is not None and row.ci_high is not None:
        quoted += f' <span class="soft">[{_number(row.ci_low)}, {_number(row.ci_high)}]</span>'
    n = f"{row.n}" + (f" (+{row.n_undefined} undefined)" if row.n_undefined else "")
    return f"<td>{quoted}</td><td>{_number(getattr(row, other))}</td><td>{n}</td>"


def _examples(examples: Sequence[Example], results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not examples:
        return
    seconds = excerpt_seconds(examples)
    yield "<h2>Examples</h2>"
    yield (
        '<p class="soft">The first items, whatever they sound like; of long ones '
        f"{seconds:.0f} s from the middle. Stems are as loud as in the mixture.</p>"
    )
    known = {result["item"]: result for result in results}
    for example in examples:
        yield f'<section class="example"><h3>{escape(_describe(known[example.name]))}</h3>'
        picture = spectrogram_data(example, seconds)
        yield f'<img src="{picture}" alt="Spectrograms of {escape(example.name)}">'
        yield f"<p>mixture {_player(example.mixture, seconds, 'mixture')}</p>"
        for source, path in example.estimates.items():
            truth = _player(example.references[source], seconds, f"true {source}")
            yield f"<p>{escape(source)} {_player(path, seconds, source)} true {truth}</p>"
        yield "</section>"


def _player(path: Path, seconds: float, label: str) -> str:
    data = sound_data(*read_excerpt(path, seconds))
    return f'<audio controls preload="none" aria-label="{escape(label)}" src="{data}"></audio>'


def _items(results: Sequence[Mapping[str, Any]], summary: Summary) -> str:
    """The most important metric of every item."""
    protocol = find_protocol(summary.protocol)
    metric, reference = protocol.metrics[0], protocol.references[0]
    columns = [
        (row.estimate, row.source)
        for row in summary.rows
        if (row.metric, row.reference) == (metric, reference) and row.source != ALL_SOURCES
    ]
    head = "".join(f'<th scope="col">{escape(e)}<br>{escape(s)}</th>' for e, s in columns)
    lines = []
    for result in results:
        scores = _scores_of(result, metric, reference)
        cells = "".join(f"<td>{_number(scores.get(column))}</td>" for column in columns)
        lines.append(f'<tr><th scope="row">{escape(_describe(result))}</th>{cells}</tr>')
    return (
        f"<details><summary>{METRIC_NAMES[metric]} of every item</summary>"
        f'<div class="scroll"><table><thead><tr><th scope="col">item</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _notes(summary: Summary) -> str:
    lines = "".join(f"<li>{escape(note)}</li>" for note in summary.notes)
    return f"<h2>Notes</h2><ul>{lines}</ul>" if lines else ""


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


def _role(estimate: str) -> str:
    if estimate in _OWN:
        return "own"
    return "bound" if estimate in _BOUNDS or estimate.startswith("best-of-") else "base"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
