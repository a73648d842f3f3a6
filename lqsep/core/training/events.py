"""What trainers tell while they work: small values, for whoever watches the run.

A trainer calls `lqsep.core.components.assemble.TrainContext.report` with them, as often as it
likes; the shared loop does so by itself, and writes its figures to files besides. A trainer
without the loop says how far it is and, in the end, how good::

    started = time.monotonic()
    for step in range(1, steps + 1):
        loss = ...
        progress = TrainProgress.since(started, step, steps)
        context.report(TrainStep("codec", progress, loss=loss))
    context.report(TrainValidation("codec", {"snr": 11.2}))

``name`` is the run's everywhere, such as ``codec`` or ``prior.drums``. Light, so that plugins and
commands may import it anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainProgress:
    """How far a run is.

    Args:
        step: Steps done, those of earlier parts of the run included.
        steps: Of the whole run.
        done: Share of the run that lies behind, from 0 to 1.
        steps_per_s: Of this part of the run.
        eta_s: Seconds until the end.
    """

    step: int
    steps: int
    done: float
    steps_per_s: float
    eta_s: float

    @classmethod
    def since(cls, started: float, step: int, steps: int, *, before: int = 0) -> TrainProgress:
        """Of steps that take equally long.

        Args:
            started: When the first one began, by `time.monotonic`.
            step: Steps done.
            steps: Of the whole run.
            before: So many of those done were done before ``started``.
        """
        rate = (step - before) / max(time.monotonic() - started, 1e-9)
        left = (steps - step) / rate if rate else float("inf")
        return cls(step, steps, step / steps, rate, left)


@dataclass(frozen=True)
class TrainNote:
    """A sentence that the user should read."""

    text: str


@dataclass(frozen=True)
class TrainStep:
    """A step of a run is done.

    Args:
        name: Of the run.
        progress: How far it is.
        loss: Of the step, if it has one.
        figures: Other numbers of the step by name.
        per_second: What goes through per second by name, such as ``audio_s`` or ``tokens``.
    """

    name: str
    progress: TrainProgress
    loss: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    per_second: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainEncoding:
    """One more sequence of the data is encoded, before the steps that need it.

    Args:
        name: Of what is encoded.
        progress: Its sequences are the steps.
        is_validation: Whether the data are those of the validation.
    """

    name: str
    progress: TrainProgress
    is_validation: bool = False


@dataclass(frozen=True)
class TrainValidation:
    """How good a run is on held-out data.

    Args:
        name: Of the run.
        figures: Numbers by name.
        step: After which it was measured; None where there are no steps.
    """

    name: str
    figures: Mapping[str, float]
    step: int | None = None


@dataclass(frozen=True)
class TrainFinished:
    """A run has ended.

    Args:
        name: Of the run.
        step: Steps done.
        minutes: Training time, resumed parts included.
        steps_per_s: Of this part of the run.
        per_second: As of a `TrainStep`.
        figures: Of the validation of the weights that are kept, if there was one.
    """

    name: str
    step: int
    minutes: float
    steps_per_s: float
    per_second: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)


TrainEvent = TrainNote | TrainStep | TrainEncoding | TrainValidation | TrainFinished

Report = Callable[[TrainEvent], None]
"""Takes what a trainer tells."""


def say_nothing(event: TrainEvent) -> None:
    """A `Report` that nobody reads."""


def tell_steps(report: Report, name: str) -> Callable[[float, float], None]:
    """A callback ``(done, total)`` that reports steps of a run, of any unit, from now on."""
    started = time.monotonic()

    def tell(done: float, total: float) -> None:
        step, steps = round(done), round(total)
        if step:
            report(TrainStep(name, TrainProgress.since(started, step, max(step, steps))))

    return tell
