"""The figures of a run of all benchmarks, picked from their results, as one table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Result = Mapping[str, Any]


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    value: float
    unit: str


def codebook_sums(result: Result) -> Iterator[Figure]:
    for name, timing in result["timings"].items():
        if name.startswith("table"):
            what = f"sum {name}, {result['settings']['codes']} codes"
            yield Figure(what, timing["cpu_median"], "processor s")


def forward_backward(result: Result) -> Iterator[Figure]:
    settings = result["settings"]
    size = f"{settings['frames']} frames, {settings['codes']} codes per source"
    for way in ("whole", "blocks"):
        what = f"smoothing of all pairs, {way}: {size}"
        yield Figure(what, result["timings"][way]["cpu_median"], "processor s")
        yield Figure(what, result["memory_bytes"][way] / 1e6, "MB")


def posterior_step(result: Result) -> Iterator[Figure]:
    settings = result["settings"]
    size = f"{settings['candidates']} candidates, {settings['codes']} codes"
    for way in ("dense", "fast"):
        yield Figure(f"joint draw, {way}: {size}", 1e3 * result[f"{way}_s"], "processor ms")
        yield Figure(f"joint draw, {way}: {size}", result[f"{way}_peak_mb"], "MB")


def samplers(result: Result) -> Iterator[Figure]:
    last = result["results"][-1]
    size = f"{last['hypotheses']} hypotheses, {result['settings']['codes']} codes"
    for name in ("ancestral", "beam", "smc"):
        value = last["timings"][name]["cpu_median"]
        yield Figure(f"step of `{name}`: {size}", 1e3 * value, "processor ms")


def likelihoods(result: Result) -> Iterator[Figure]:
    last = result["results"][-1]
    size = f"{result['settings']['hypotheses']} hypotheses, {last['codes']} codes"
    for name, timing in last["ancestral"].items():
        yield Figure(f"choice under {name}: {size}", 1e3 * timing["cpu_median"], "processor ms")


def evaluation_metrics(result: Result) -> Iterator[Figure]:
    what = f"SDR of {result['candidates']} candidates: museval against ours"
    yield Figure(what, result["times_faster"]["median"], "times as long")


def separation_speed(result: Result) -> Iterator[Figure]:
    model = result["settings"]["model"]
    for one in result["results"]:
        what = f"`lqsep separate -n {model}`, {one['audio_s']:g} s of stereo"
        middle = {
            name: statistics.median(run[name] for run in one["runs"]) for name in one["runs"][0]
        }
        yield Figure(what, middle["seconds"], "s")
        yield Figure(what, middle["processor_seconds"], "processor s")
        yield Figure(what, middle["peak_memory_bytes"] / 1e6, "MB")


def train_throughput(result: Result) -> Iterator[Figure]:
    for part, found in result["results"].items():
        what = f"training of a {result['settings']['size']} {part}"
        yield Figure(what, found["steps_per_s"]["fit"], "steps per s")
        yield Figure(f"{what}: against a plain loop", found["ratio"]["cpu_median"], "times as long")


FIGURES: dict[str, Callable[[Result], Iterator[Figure]]] = {
    script.__name__: script
    for script in (
        codebook_sums,
        posterior_step,
        samplers,
        likelihoods,
        forward_backward,
        evaluation_metrics,
        separation_speed,
        train_throughput,
    )
}
"""By script; a script without an entry has no line in the table."""


def table(results: Sequence[Result], date: str, commit: str | None) -> str:
    """Markdown, a line per figure; results without a ``benchmark`` of their own are refused."""
    lines = ["| what | figure | unit | machine | date | commit |", "|---|--:|---|---|---|---|"]
    for result in results:
        machine = result["machine"]
        where = f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads"
        for figure in FIGURES[result["benchmark"]](result):
            shown = f"{figure.value:.3g}" if abs(figure.value) < 1000 else f"{figure.value:.0f}"
            cells = (figure.what, shown, figure.unit, where, date, commit or "unknown")
            lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)
