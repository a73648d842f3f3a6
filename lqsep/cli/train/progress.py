"""How a training run is shown on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from lqsep.cli.options import current_options

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Seconds between lines where there is no terminal.
_LINE_EVERY_S = 30.0


class TrainingProgress:
    """Shows what trainers report (`lqsep.core.components.assemble.TrainContext.report`).

    Dictionaries with ``event`` ``progress`` (``name``, ``step``, ``steps``, ``done``, ``eta_s``,
    ``steps_per_s`` and other rates, ``loss``), ``encoding`` (likewise, but for the loss),
    ``validation`` (``name``, ``step``, figures), ``summary`` (likewise) and ``note`` (``text``) are
    understood; others are shown as figures.
    ``-q`` hides everything.
    """

    def __init__(self, *, terminal: bool | None = None, quiet: bool | None = None) -> None:
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._quiet = current_options().quiet if quiet is None else quiet
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last_line = float("-inf")

    def report(self, figures: Mapping[str, Any]) -> None:
        """Show one report."""
        if self._quiet:
            return
        event = figures.get("event")
        if event == "note":
            self._line(str(figures.get("text", "")))
        elif event in {"progress", "encoding"} and self._terminal:
            self._show_bar(figures)
        elif event in {"progress", "encoding"}:
            now = time.monotonic()
            if now - self._last_line >= _LINE_EVERY_S or figures.get("done") == 1.0:
                self._last_line = now
                self._line(_progress_line(figures))
        elif event == "summary":
            self._line(_summary_line(figures))
        else:
            self._line(_figures_line(figures))

    def _show_bar(self, figures: Mapping[str, Any]) -> None:
        name = str(figures["name"])
        if self._bar is None:
            self._bar = _new_bar()
            self._bar.start()
        if name not in self._tasks:
            for old in self._tasks.values():
                self._bar.remove_task(old)
            self._tasks = {name: self._bar.add_task(name, total=1.0, figures="")}
        text = _progress_text(figures)
        self._bar.update(self._tasks[name], completed=figures["done"], figures=text)

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            click.echo(text, err=True)

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _progress_line(figures: Mapping[str, Any]) -> str:
    what = "sequence" if figures["event"] == "encoding" else "step"
    place = f"{what} {figures['step']} of {figures['steps']}"
    return f"{figures['name']}: {place}, {_progress_text(figures)}"


def _progress_text(figures: Mapping[str, Any]) -> str:
    if figures["event"] == "encoding":
        return _left(figures)
    return f"loss {figures.get('loss', float('nan')):.4g}, {_rates(figures)}, {_left(figures)}"


def _rates(figures: Mapping[str, Any]) -> str:
    """``2.00 steps/s, 11.9 s of audio/s, 4096 tokens/s``, as far as known."""
    units = {"audio_s_per_s": "s of audio/s", "tokens_per_s": "tokens/s"}
    known = [f"{figures[key]:.4g} {unit}" for key, unit in units.items() if key in figures]
    return ", ".join([f"{figures['steps_per_s']:.2f} steps/s", *known])


def _summary_line(figures: Mapping[str, Any]) -> str:
    """``codec: done, 500 steps in 3.2 minutes, 2.61 steps/s; sdr_drums 5.21``."""
    known = {"event", "name", "step", "minutes"}
    validation = ", ".join(
        f"{key} {value:.4g}"
        for key, value in figures.items()
        if key not in known and not key.endswith("_per_s")
    )
    text = (
        f"{figures['name']}: done, {figures['step']} steps in {figures['minutes']:.3g} minutes, "
        f"{_rates(figures)}"
    )
    return f"{text}; {validation}" if validation else text


def _figures_line(figures: Mapping[str, Any]) -> str:
    """``codec: step 500: sdr_drums 5.21, sdr_bass 8.3``."""
    head = [str(figures[key]) for key in ("name",) if key in figures]
    head += [f"step {figures['step']}"] if "step" in figures else []
    parts = [
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in figures.items()
        if key not in {"event", "name", "step"}
    ]
    return ": ".join([*head, ", ".join(parts)])


def _left(figures: Mapping[str, Any]) -> str:
    """``about 3 min 20 s left``."""
    minutes, seconds = divmod(round(float(figures["eta_s"])), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"about {hours} h {minutes} min left"
    return f"about {minutes} min {seconds} s left" if minutes else f"about {seconds} s left"


def _new_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=Console(stderr=True),
        redirect_stdout=False,
    )
