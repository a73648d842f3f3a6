"""``lqsep train --dry-run``: two steps of a training, and what the whole of it would take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from lqsep.core.components.assemble import TrainContext
from lqsep.core.files.staging import Staging
from lqsep.core.training.events import (
    TrainEncoding,
    TrainEvent,
    TrainFinished,
    TrainStep,
    TrainValidation,
)
from lqsep.core.training.settings import LoopSettings

if TYPE_CHECKING:
    from lqsep.core.interfaces.dataset import Dataset

_STEPS = 2

# Encoded for a prior's two steps, instead of all.
_TRACKS = 2


def rehearse(
    train: Callable[[LoopSettings, TrainContext], object],
    settings: LoopSettings,
    context: TrainContext,
) -> str:
    """Train for two steps, validate and write a checkpoint, in a temporary folder; collective.

    A prior has the codes of the longest tracks only.

    Args:
        train: Calls the trainer.
        settings: Of the whole run.
        context: Of the whole run.

    Returns:
        Projected duration, memory, and size of a checkpoint, in one line; empty in all processes
        but the first.
    """
    from lqsep.core.training import processes

    short = settings.model_copy(
        update={
            "steps": _STEPS,
            "max_minutes": None,
            "log_every": 1,
            "validate_every": _STEPS,
            "checkpoint_every": _STEPS,
            "patience": None,
            "trackers": (),
        }
    )
    stepped: list[float] = []
    validated: list[float] = []
    encoding = _Encoding()
    if context.source is not None:
        context = encoding.of_some(context)

    def report(event: TrainEvent) -> None:
        now = time.monotonic()
        if isinstance(event, TrainEncoding):
            encoding.note(event, now)
        elif isinstance(event, TrainStep):
            stepped.append(now)
        elif isinstance(event, TrainValidation):
            validated.append(now)
        if not isinstance(event, TrainFinished):
            context.report(event)

    # Beside the output, which all processes see, and on its disk.
    parent = context.output_dir.absolute().parent
    with Staging(parent if parent.is_dir() else gettempdir()) as own:
        folder = Path(processes.gather(str(own.folder))[0])
        train(short, replace(context, output_dir=folder, resume=False, report=report))
        processes.wait()
        sizes = [path.stat().st_size for path in folder.glob("checkpoints/*/step-*.pt")]
        processes.wait()
    if not stepped:  # only the first process is told
        return ""
    # The first step pays for what is done once; the second is like those to come.
    step_s = stepped[-1] - stepped[0]
    validation_s = validated[-1] - stepped[-1] if validated else 0.0
    total = settings.steps * step_s + settings.steps // settings.validate_every * validation_s
    if settings.max_minutes is not None:
        total = min(total, 60 * settings.max_minutes)
    return (
        f"{settings.steps} steps of {step_s:.3g} s and validations of {validation_s:.3g} s take "
        f"about {_duration(total)}{encoding.told()}; {_memory(context)}; "
        f"a checkpoint takes {_size(max(sizes))}"
    )


class _Encoding:
    """How long it takes to encode the data of a prior, projected from a few tracks."""

    def __init__(self) -> None:
        self._told: dict[str, list[float]] = {}
        self._is_validation: dict[str, bool] = {}
        self._longer = {False: 1.0, True: 1.0}

    def of_some(self, context: TrainContext) -> TrainContext:
        """The context with few tracks, the longest ones."""
        held_out = context.validation
        if held_out is not None:
            held_out = self._some(held_out, is_validation=True)
        return replace(
            context,
            dataset=self._some(context.dataset, is_validation=False),
            validation=held_out,
        )

    def _some(self, dataset: Dataset, *, is_validation: bool) -> Dataset:
        from lqsep.core.corpus.subsets import durations, longest_tracks

        some = longest_tracks(dataset, _TRACKS)
        self._longer[is_validation] = sum(durations(dataset)) / max(sum(durations(some)), 1e-9)
        return some

    def note(self, event: TrainEncoding, now: float) -> None:
        """One more sequence has been encoded."""
        self._told.setdefault(event.name, []).append(now)
        self._is_validation[event.name] = event.is_validation

    def told(self) -> str:
        """The projected duration, if anything was encoded twice."""
        total = 0.0
        for name, times in self._told.items():
            # The first one is told when it is done, after what is done once.
            seconds = (times[-1] - times[0]) * len(times) / max(len(times) - 1, 1)
            total += seconds * self._longer[self._is_validation[name]]
        return f", encoding the data before {_duration(total)}" if total else ""


def _memory(context: TrainContext) -> str:
    """What was needed at the peak, in words: of the GPU, or of this process."""
    import torch

    if context.device.type == "cuda":
        return f"memory at most {_size(torch.cuda.max_memory_allocated(context.device))}"
    try:
        import resource  # Unix alone has it
    except ImportError:
        return "how much memory is not known on this system"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"memory at most {_size(peak if sys.platform == 'darwin' else peak * 1024)}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
