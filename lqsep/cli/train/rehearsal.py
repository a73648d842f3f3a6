"""``lqsep train --dry-run``: two steps of a training, and what the whole of it would take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lqsep.core.components.assemble import TrainContext
from lqsep.core.training.settings import LoopSettings

_STEPS = 2

# Encoded for a prior's two steps, instead of all.
_TRACKS = 2


def rehearse(
    train: Callable[[LoopSettings, TrainContext], None],
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
    reached: dict[str, float] = {}
    encoding = _Encoding()
    if context.source is not None:
        context = encoding.of_some(context)

    def report(figures: Mapping[str, Any]) -> None:
        event = figures.get("event")
        if event == "encoding":
            encoding.note(figures["name"])
        if event in {"progress", "validation"}:
            reached[f"{event} {figures['step']}"] = time.monotonic()
        if event != "summary":
            context.report(figures)

    # Beside the output, which all processes see, and on its disk.
    parent = context.output_dir.absolute().parent
    with TemporaryDirectory(dir=parent if parent.is_dir() else None, prefix=".dry-run-") as own:
        folder = Path(processes.gather(own)[0])
        train(short, replace(context, output_dir=folder, resume=False, report=report))
        processes.wait()
        sizes = [path.stat().st_size for path in folder.glob("checkpoints/*/step-*.pt")]
        processes.wait()
    if not reached:  # only the first process is told
        return ""
    # The first step pays for what is done once; the second is like those to come.
    step_s = reached["progress 2"] - reached["progress 1"]
    validation_s = reached.get("validation 2", reached["progress 2"]) - reached["progress 2"]
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
        self._seconds: dict[str, list[float]] = {}
        self._longer = 1.0

    def of_some(self, context: TrainContext) -> TrainContext:
        """The context with few tracks, the longest ones."""
        from lqsep.core.corpus.subsets import durations, longest_tracks

        some = longest_tracks(context.dataset, _TRACKS)
        self._longer = sum(durations(context.dataset)) / max(sum(durations(some)), 1e-9)
        held_out = context.validation
        if held_out is not None:
            held_out = longest_tracks(held_out, _TRACKS)
        return replace(context, dataset=some, validation=held_out)

    def note(self, name: str) -> None:
        """One more sequence has been encoded."""
        self._seconds.setdefault(name, []).append(time.monotonic())

    def told(self) -> str:
        """The projected duration, if anything was encoded twice."""
        total = 0.0
        for times in self._seconds.values():
            # The first one is told when it is done, after what is done once.
            total += (times[-1] - times[0]) * len(times) / max(len(times) - 1, 1)
        return f", encoding the data before {_duration(total * self._longer)}" if total else ""


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
