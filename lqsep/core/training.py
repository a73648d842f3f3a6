"""The shared training loop: one process, CPU or one GPU. Optional for trainers.

A trainer describes its work as a `Task` and calls `fit`, which owns everything else: optimiser,
warm-up and schedule, clipping, reports, metrics files, checkpoints, resuming, and stopping. What
the loop draws comes from torch's global generator and from the generator handed to `Task.loss`;
both are part of a checkpoint, so on a CPU a resumed run gives the numbers of an unbroken one
(unless ``max_minutes`` makes the learning rate follow the clock).
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lqsep.core.errors import CheckpointError, LqsepError
from lqsep.core.metrics_log import MetricsLog
from lqsep.core.optimizers import JukeboxAdam, WeightAverage
from lqsep.core.training_settings import LoopSettings

Report = Callable[[Mapping[str, Any]], None]

_CHECKPOINT_VERSION = 1

_OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "jukebox-adam": JukeboxAdam,
}


class Task(ABC):
    """What is trained: a model, the loss of one more random batch, and a validation."""

    model: nn.Module
    best_by: str | None = None
    """Name of the validation figure whose smallest value marks the weights to keep; None keeps
    the last ones."""

    @abstractmethod
    def loss(self, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Loss of the next batch, drawn with ``generator`` (CPU), and figures to report."""

    def validate(self) -> Mapping[str, float]:
        """Figures on held-out data; the model is in evaluation mode, without gradients."""
        return {}


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Args:
        step: Optimiser steps done.
        minutes: Training time, resumed parts included.
        validation: Figures of the kept weights; empty when there was no validation.
    """

    step: int
    minutes: float
    validation: Mapping[str, float]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which networks run: bfloat16 or nothing, see `LoopSettings.precision`."""
    wanted = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


def fit(
    task: Task,
    settings: LoopSettings,
    *,
    name: str,
    output_dir: Path,
    device: torch.device,
    seed: int,
    resume: bool,
    report: Report,
) -> FitResult:
    """Train ``task.model`` in place.

    Args:
        task: The work.
        settings: The loop's settings.
        name: Of the run: ``checkpoints/<name>.pt`` and ``logs/<name>.jsonl`` below ``output_dir``.
        output_dir: Model directory.
        device: Where the model lives.
        seed: Of everything random.
        resume: Continue from the last checkpoint; without one the run starts anew.
        report: Told every figure.

    Raises:
        LqsepError: The loss stopped being a number; the last good checkpoint is kept.
        CheckpointError: The checkpoint cannot be read or belongs to another model.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was written.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), _interruptible() as interrupted:
        torch.manual_seed(seed)
        run = _Run(task, settings, name, output_dir, device, seed, report, interrupted)
        if resume:
            run.load()
        with MetricsLog(output_dir / "logs", name, after_step=run.step, report=report) as log:
            return run.train(log)


class _Run:
    """State of one run; what is not derived from the arguments goes into the checkpoint."""

    def __init__(
        self,
        task: Task,
        settings: LoopSettings,
        name: str,
        output_dir: Path,
        device: torch.device,
        seed: int,
        report: Report,
        interrupted: threading.Event,
    ) -> None:
        self.task, self.settings, self.name = task, settings, name
        self.device, self.report, self.interrupted = device, report, interrupted
        self.path = output_dir / "checkpoints" / f"{name}.pt"
        self.generator = torch.Generator().manual_seed(seed)
        self.parameters = [p for p in task.model.parameters() if p.requires_grad]
        self.optimizer = _OPTIMIZERS[settings.optimizer](
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average: WeightAverage | None = None
        if settings.ema_decay is not None:
            self.average = WeightAverage(self.parameters, settings.ema_decay)
        self.step = 0
        self.seconds = 0.0
        self.validation: dict[str, float] = {}
        self.best: dict[str, Tensor] | None = None

    def train(self, log: MetricsLog) -> FitResult:
        settings, model = self.settings, self.task.model
        started, first_step = time.monotonic() - self.seconds, self.step
        resumed_seconds = self.seconds
        model.train()
        while not self._finished():
            loss, figures = self._one_step()
            self.seconds = time.monotonic() - started
            if self.step % settings.log_every == 0 or self.step == 1:
                rate = (self.step - first_step) / max(self.seconds - resumed_seconds, 1e-9)
                values = {key: float(value) for key, value in figures.items()}
                values |= {"loss": loss, "learning_rate": self.learning_rate()}
                log.write(self.step, values)
                self.report(self._progress(rate) | values)
            last = self._finished()
            if last or self.step % settings.validate_every == 0:
                self._validate(log)
            if last or self.step % settings.checkpoint_every == 0:
                self.save()
            if self.interrupted.is_set():
                self.save()
                raise KeyboardInterrupt
        if self.best is not None:
            model.load_state_dict(self.best)
        elif self.average is not None:
            self.average.copy_to_model()
        model.eval()
        return FitResult(self.step, self.seconds / 60, self.validation)

    def learning_rate(self) -> float:
        """Of the next step: linear warm-up, then constant or a cosine to the final value."""
        settings = self.settings
        if self.step < settings.warmup_steps:
            return settings.learning_rate * (self.step + 1) / settings.warmup_steps
        if settings.schedule == "constant":
            return settings.learning_rate
        cosine = 0.5 * (1 + math.cos(math.pi * self._done()))
        floor = settings.final_learning_rate
        return settings.learning_rate * (floor + (1 - floor) * cosine)

    def save(self) -> None:
        """Write the checkpoint under a temporary name, then rename it."""
        state = {
            "version": _CHECKPOINT_VERSION,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.task.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "generator": self.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self._on_gpu() else None,
            "validation": self.validation,
            "best": self.best,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            torch.save(state, temporary)
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def load(self) -> None:
        """Continue from the checkpoint where there is one."""
        if not self.path.exists():
            self.report({"event": "note", "text": f"{self.path}: no checkpoint, starting anew"})
            return
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            self.task.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                if state.get("average") is None:  # the run had none so far
                    self.average = WeightAverage(self.parameters, self.average.decay)
                else:
                    self.average.load_state_dict(state["average"])
            self.generator.set_state(state["generator"].clone())
            torch.set_rng_state(state["torch_rng"].clone())
            if self._on_gpu() and state["cuda_rng"] is not None:
                torch.cuda.set_rng_state(state["cuda_rng"].clone(), self.device)
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            self.validation, self.best = dict(state["validation"]), state["best"]
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(
                f"resuming '{self.name}': {self.path} does not fit this run ({reason}). Use the "
                f"configuration it was started with, or delete it to start anew."
            ) from error

    def _one_step(self) -> tuple[float, Mapping[str, Tensor | float]]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        loss, figures = self.task.loss(self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        value = float(loss.detach())
        if not math.isfinite(value) or not bool(torch.isfinite(norm)):
            kept = f"kept: {self.path}" if self.path.exists() else "there is none yet"
            raise LqsepError(
                f"training '{self.name}' stopped at step {self.step + 1}: the loss is {value} and "
                f"its gradient {float(norm)}, expected numbers. Last good checkpoint {kept}. Use "
                f"a lower learning_rate or clip_norm, then --resume."
            )
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        self.step += 1
        return value, {**figures, "gradient_norm": norm}

    def _validate(self, log: MetricsLog) -> None:
        with torch.no_grad(), nullcontext() if self.average is None else self.average.applied():
            self._validate_weights(log)

    def _validate_weights(self, log: MetricsLog) -> None:
        model = self.task.model
        model.eval()
        # Validation must not move the randomness of training, which a resumed run repeats.
        with torch.random.fork_rng(devices=[self.device] if self._on_gpu() else []):
            figures = dict(self.task.validate())
        model.train()
        if not figures:
            return
        log.write(self.step, {f"validation/{key}": value for key, value in figures.items()})
        self.report({"event": "validation", "name": self.name, "step": self.step} | figures)
        key = self.task.best_by
        if key is None:
            self.validation = figures
        elif self.best is None or figures[key] < self.validation[key]:
            self.validation = figures
            self.best = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def _progress(self, rate: float) -> dict[str, Any]:
        left = (self.settings.steps - self.step) / rate
        if self.settings.max_minutes is not None:
            left = min(left, max(self.settings.max_minutes * 60 - self.seconds, 0.0))
        return {
            "event": "progress",
            "name": self.name,
            "step": self.step,
            "steps": self.settings.steps,
            "done": self._done(),
            "steps_per_s": rate,
            "eta_s": left,
        }

    def _done(self) -> float:
        """Share of the run that lies behind, from 0 to 1."""
        done = self.step / self.settings.steps
        if self.settings.max_minutes is not None:
            done = max(done, self.seconds / (60 * self.settings.max_minutes))
        return min(done, 1.0)

    def _finished(self) -> bool:
        return self._done() >= 1.0

    def _on_gpu(self) -> bool:
        return self.device.type == "cuda"


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a flag, so that a step is never cut in two; a second one kills."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def note(signum: int, frame: object) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, previous)
