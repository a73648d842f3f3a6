"""Tables of docs/results.md, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from results_read import BASELINES_WITH, DEFAULT, MODELS, SetResults

from lqsep.core.evaluation.summary import ALL_SOURCES, SummaryRow, summarise

LABELS = {
    "mixture/2": "mixture / 2",
    "hpss": "HPSS",
    BASELINES_WITH: f"`{BASELINES_WITH}`",
    DEFAULT: f"**`{DEFAULT}`**",
    "oracle-mask": "masks from the true sources",
}

DRUMS, BASS = "drums", "bass"

# Sets with a table of their own, all estimates and figures.
_WHOLE = ("patterns", "kits", "soundfont", "stereo")

# How far above HPSS the default model is to be, in dB, mean of both stems.
_ABOVE_HPSS_DB = {"patterns": 3.5, "kits": 2.5, "soundfont": 3.0}


Rows = Mapping[tuple[str, str, str], SummaryRow]
"""By estimate, source and metric."""


def figures(sets: Sequence[SetResults], machines: Mapping[str, Mapping[str, Any]]) -> str:
    """All tables."""
    by_name = {results.name: results for results in sets}
    rows = {
        name: {(r.estimate, r.source, r.metric): r for r in summarise(results.results).rows}
        for name, results in by_name.items()
    }
    lines = ["## Targets", "", *_targets(by_name, rows)]
    for name in _WHOLE:
        if name in rows:
            lines += ["", f"## {by_name[name].title}", "", *_whole(rows[name])]
            lines += ["", f"HPSS: {by_name[name].hpss}."]
    offsets = {name: rows[name] for name in rows if name.startswith("offset")}
    if offsets:
        lines += ["", "## Loudness of the sources", "", *_offsets(offsets)]
        lines += ["", *(f"HPSS at {_db(name)}: {by_name[name].hpss}." for name in offsets)]
    if "missing" in rows:
        lines += ["", "## A missing source", "", *_missing(rows["missing"])]
        lines += ["", f"HPSS: {by_name['missing'].hpss}."]
    return "\n".join([*lines, "", "## Speed", "", *_speed(sets, machines)])


def _targets(by_name: Mapping[str, SetResults], rows: Mapping[str, Rows]) -> Iterator[str]:
    yield from _head("target", "found", "")
    for name, wanted in _ABOVE_HPSS_DB.items():
        row = rows.get(name, {}).get((f"{DEFAULT} - hpss", ALL_SOURCES, "sdr"))
        what = f"{by_name[name].title}: SDR {wanted:g} dB above HPSS" if name in by_name else name
        yield _target(what, row, wanted)
    for name in ("offset-12", "offset+12"):
        source = DRUMS if name == "offset-12" else BASS
        for stem in (source, BASS if source == DRUMS else DRUMS):
            row = rows.get(name, {}).get((f"{DEFAULT} - mixture/2", stem, "sdr"))
            yield _target(f"{source} 12 dB down: {stem} above mixture / 2", row, 0.0)


def _target(what: str, row: SummaryRow | None, wanted: float) -> str:
    if row is None or row.mean is None:
        return _line(what, "not evaluated", "")
    verdict = "met" if row.mean >= wanted else f"missed by {wanted - row.mean:.2f} dB"
    return _line(what, f"{_figure(row, sign='+')} dB", verdict)


def _whole(rows: Rows) -> Iterator[str]:
    sources = (ALL_SOURCES, DRUMS, BASS)
    names = [f"{metric}, {s}" for metric in ("SDR", "SI-SDR") for s in ("both", DRUMS, BASS)]
    yield from _head("", *names, "n")
    for estimate, label in LABELS.items():
        cells = [rows.get((estimate, s, m)) for m in ("sdr", "si_sdr") for s in sources]
        if any(cells):
            yield _line(label, *map(_figure, cells), str(cells[0].n if cells[0] else 0))
    above = [rows.get((f"{DEFAULT} - hpss", s, m)) for m in ("sdr", "si_sdr") for s in sources]
    if any(above):
        cells = [_figure(row, sign="+") for row in above]
        yield _line(f"`{DEFAULT}` above HPSS", *cells, str(above[0].n if above[0] else 0))


def _offsets(offsets: Mapping[str, Rows]) -> Iterator[str]:
    """A table per metric and stem: offsets down, estimates across."""
    n = max(row.n for rows in offsets.values() for row in rows.values())
    yield (
        f"The drums are so many dB above the bass (RMS of the whole track), n = {n} for each line."
    )
    for metric, name in (("sdr", "SDR"), ("si_sdr", "SI-SDR")):
        for source in (DRUMS, BASS):
            yield ""
            yield from _head(f"{name} of the {source}", *LABELS.values())
            for offset, rows in offsets.items():
                cells = [_figure(rows.get((e, source, metric))) for e in LABELS]
                yield _line(_db(offset), *cells)


def _missing(rows: Rows) -> Iterator[str]:
    yield (
        "Mixtures of one stem alone: how far below them, in dB, is the estimate of the other stem\n"
        "(rejection, 100 at most; the larger the better; where estimates sum to the mixture it is\n"
        "also the SDR of the stem that sounds), and the SI-SDR of the stem that sounds."
    )
    yield ""
    names = ["drums alone: rejection of bass", "bass alone: rejection of drums"]
    names += [f"{source} alone: SI-SDR" for source in (DRUMS, BASS)]
    yield from _head("", *names, "n of each")
    for estimate, label in LABELS.items():
        cells = [rows.get((estimate, s, "rejection")) for s in (BASS, DRUMS)]
        cells += [rows.get((estimate, s, "si_sdr")) for s in (DRUMS, BASS)]
        if any(cells) and estimate != "oracle-mask":  # it has nothing to decide
            yield _line(label, *map(_figure, cells), str(max(c.n for c in cells if c)))


def _speed(sets: Sequence[SetResults], machines: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield (
        "Seconds of computation per second of audio, median over tracks, one thread: by the clock\n"
        "(the machine had other work), and of the processor."
    )
    yield ""
    headings = [f"`{model}`, {kind}" for model in MODELS for kind in ("clock", "processor")]
    yield from _head("", *headings)
    median: Callable[[Any], float] = statistics.median
    for results in sets:
        cells = []
        for model in MODELS:
            times = results.seconds.get(model, ())
            cells += [f"{median(t[k] for t in times):.2f}" if times else "" for k in (0, 1)]
        yield _line(results.title, *cells)
    yield ""
    for model, facts in machines.items():
        yield (
            f"Machine of `{model}`: {facts['cores']} cores of {facts['processor']}, one used; "
            f"Python {facts['python']}, torch {facts['torch']}."
        )


def _db(name: str) -> str:
    return f"{int(name.removeprefix('offset')):+d} dB"


def _figure(row: SummaryRow | None, sign: str = "") -> str:
    if row is None or row.mean is None:
        return "n/a"
    if row.ci_low is None or row.ci_high is None:
        return f"{row.mean:{sign}z.1f}"
    return f"{row.mean:{sign}z.1f} ({row.ci_low:{sign}z.1f}, {row.ci_high:{sign}z.1f})"


def _head(*cells: str) -> Iterator[str]:
    yield _line(*cells)
    yield "|---|" + "--:|" * (len(cells) - 1)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
