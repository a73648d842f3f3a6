"""``lqsep train --dry-run``: two steps of a training, and what the whole of it would take."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lqsep.core.assemble import TrainContext
from lqsep.core.training_settings import LoopSettings

_STEPS = 2


def rehearse(
    train: Callable[[LoopSettings, TrainContext], None],
    settings: LoopSettings,
    context: TrainContext,
) -> str:
    """Train for two steps, validate and write a checkpoint, in a temporary folder; collective.

    Args:
        train: Calls the trainer.
        settings: Of the whole run.
        context: Of the whole run.

    Returns:
        Projected duration, memory, and size of a checkpoint, in one line.
    """
    from lqsep.core import processes

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

    def report(figures: Mapping[str, Any]) -> None:
        event = figures.get("event")
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
        f"about {_duration(total)}; memory at most {_size(_peak_memory(context))}; a checkpoint "
        f"takes {_size(max(sizes))}"
    )


def _peak_memory(context: TrainContext) -> int:
    """Bytes at the peak: of the GPU, or of this process."""
    import torch

    if context.device.type == "cuda":
        return torch.cuda.max_memory_allocated(context.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
