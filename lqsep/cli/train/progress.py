"""How a training run is shown on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from lqsep.cli.console.printable import printable
from lqsep.cli.options import current_options
from lqsep.core.training.events import (
    TrainEncoding,
    TrainEvent,
    TrainFinished,
    TrainNote,
    TrainStep,
    TrainValidation,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Seconds between lines where there is no terminal.
_LINE_EVERY_S = 30.0

# What goes through per second, where its name alone would not say.
_UNITS = {"audio_s": "s of audio"}


class TrainingProgress:
    """Shows what trainers tell, see `lqsep.core.training.events`; ``-q`` hides everything."""

    def __init__(self, *, terminal: bool | None = None, quiet: bool | None = None) -> None:
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._quiet = current_options().quiet if quiet is None else quiet
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last_line = float("-inf")

    def report(self, event: TrainEvent) -> None:
        """Show one event.

        Raises:
            TypeError: It is none of them.
        """
        if isinstance(event, TrainStep | TrainEncoding):
            self._show_progress(event)
        elif isinstance(event, TrainNote):
            self._line(event.text)
        elif isinstance(event, TrainValidation):
            self._line(_validation_line(event))
        elif isinstance(event, TrainFinished):
            self._line(_finished_line(event))
        else:
            raise TypeError(
                "a trainer reported something else than an event of lqsep.core.training.events: "
                f"{event!r}"
            )

    def _show_progress(self, event: TrainStep | TrainEncoding) -> None:
        if self._quiet:
            return
        if self._terminal:
            self._show_bar(event)
            return
        now = time.monotonic()
        if now - self._last_line >= _LINE_EVERY_S or event.progress.done == 1.0:
            self._last_line = now
            self._line(_progress_line(event))

    def _show_bar(self, event: TrainStep | TrainEncoding) -> None:
        if self._bar is None:
            self._bar = _new_bar()
            self._bar.start()
        if event.name not in self._tasks:
            for old in self._tasks.values():
                self._bar.remove_task(old)
            self._tasks = {event.name: self._bar.add_task(event.name, total=1.0, figures="")}
        self._bar.update(
            self._tasks[event.name], completed=event.progress.done, figures=_progress_text(event)
        )

    def _line(self, text: str) -> None:
        if self._quiet:
            return
        text = printable(text)
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


def _progress_line(event: TrainStep | TrainEncoding) -> str:
    what = "sequence" if isinstance(event, TrainEncoding) else "step"
    progress = event.progress
    return f"{event.name}: {what} {progress.step} of {progress.steps}, {_progress_text(event)}"


def _progress_text(event: TrainStep | TrainEncoding) -> str:
    if isinstance(event, TrainEncoding):
        return _left(event.progress.eta_s)
    loss = [] if event.loss is None else [f"loss {event.loss:.4g}"]
    rates = _rates(event.progress.steps_per_s, event.per_second)
    return ", ".join([*loss, rates, _left(event.progress.eta_s)])


def _rates(steps_per_s: float, per_second: Mapping[str, float]) -> str:
    """``2.00 steps/s, 11.9 s of audio/s, 4096 tokens/s``."""
    found = [f"{rate:.4g} {_UNITS.get(what, what)}/s" for what, rate in per_second.items()]
    return ", ".join([f"{steps_per_s:.2f} steps/s", *found])


def _validation_line(event: TrainValidation) -> str:
    """``codec: step 500: sdr_drums 5.21, sdr_bass 8.3``."""
    step = [] if event.step is None else [f"step {event.step}"]
    return ": ".join([event.name, *step, _figures(event.figures)])


def _finished_line(event: TrainFinished) -> str:
    """``codec: done, 500 steps in 3.2 minutes, 2.61 steps/s; sdr_drums 5.21``."""
    text = (
        f"{event.name}: done, {event.step} steps in {event.minutes:.3g} minutes, "
        f"{_rates(event.steps_per_s, event.per_second)}"
    )
    return f"{text}; {_figures(event.figures)}" if event.figures else text


def _figures(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _left(eta_s: float) -> str:
    """``about 3 min 20 s left``."""
    if not math.isfinite(eta_s):
        return "how long it takes is not known yet"
    minutes, seconds = divmod(round(eta_s), 60)
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
