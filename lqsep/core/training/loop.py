"""The shared training loop: one process or many, on CPUs or GPUs. Optional for trainers.

A trainer describes its work as a `Task` and calls `fit`, which owns everything else: optimiser,
warm-up and schedule, clipping, reports, metrics files, checkpoints, resuming, and stopping. What
the loop draws comes from torch's global generator and from the generator handed to `Task.loss`;
both are part of a checkpoint, so on a CPU a resumed run gives the numbers of an unbroken one
(unless ``max_minutes`` makes the learning rate follow the clock).

Several processes (`lqsep.core.training.processes`) each work on their share of a joint batch, and
take the same number of steps; gradients are averaged, and the first process alone writes and
reports.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lqsep.core.errors import CheckpointError, ConfigError, Interrupted, LqsepError
from lqsep.core.training import processes
from lqsep.core.training.checkpoints import CheckpointFolder
from lqsep.core.training.events import (
    Report,
    TrainFinished,
    TrainNote,
    TrainProgress,
    TrainStep,
    TrainValidation,
    say_nothing,
)
from lqsep.core.training.metrics_log import MetricsLog
from lqsep.core.training.seeds import spawn_generator, spawn_seed
from lqsep.core.training.settings import LoopSettings
from lqsep.core.training.state import TrainingState


class Task(ABC):
    """What is trained: a model, the loss of one more random batch, and a validation."""

    model: nn.Module
    best_by: str | None = None
    """Name of the validation figure whose smallest value marks the weights to keep; None keeps
    the last ones."""
    per_step: Mapping[str, float] = {}
    """What a step of the joint batch goes through, such as ``{"audio_s": 11.9}``; reported per
    second."""

    @abstractmethod
    def loss(self, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Loss of the next batch, and figures to report.

        The generator (CPU) is the same in all processes: draw the joint batch with it, and work on
        this process's `lqsep.core.training.processes.share` of it. Loss and figures are means over
        that share. The global generator differs between processes.
        """

    def validate(self) -> Mapping[str, float]:
        """Figures on held-out data; the model is in evaluation mode, without gradients.

        Runs in the first process alone, so nothing in it may wait for the others.
        """
        return {}

    def sounds(self) -> tuple[Mapping[str, Tensor], int]:
        """Waves (``samples``) to listen to by name, and their rate in Hz; as `validate` runs."""
        return {}, 0


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Args:
        step: Optimiser steps done.
        minutes: Training time, resumed parts included.
        validation: Figures of the kept weights; empty when there was no validation, and in all
            processes but the first.
    """

    step: int
    minutes: float
    validation: Mapping[str, float]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which networks run, see `LoopSettings.precision`."""
    if precision == "float16":
        return torch.autocast(device.type, dtype=torch.float16)
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
    identity: Mapping[str, str] | None = None,
) -> FitResult:
    """Train ``task.model`` in place; collective, see `lqsep.core.training.processes`.

    Args:
        task: The work.
        settings: The loop's settings.
        name: Of the run: ``checkpoints/<name>/`` and ``logs/<name>.jsonl`` below ``output_dir``,
            which all processes have to see.
        output_dir: Model directory.
        device: Where the model lives.
        seed: Of everything random, from 0 on; runs of other names draw other numbers.
        resume: Continue from the last checkpoint; without one the run starts anew.
        report: Told of steps, validations and the end, in the first process.
        identity: What must not change between a run and its continuation, by name.

    Raises:
        LqsepError: The loss exploded or stopped being a number; the last good checkpoint is kept.
        CheckpointError: The checkpoint cannot be read or written, or belongs to another run.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP, after a checkpoint was written.
    """
    devices = [device] if device.type == "cuda" else []
    if not processes.is_main():
        report = say_nothing
    with torch.random.fork_rng(devices=devices), _interruptible() as interrupted:
        torch.manual_seed(spawn_seed(seed, name, "process", processes.rank()))
        batches = spawn_generator(seed, name, "batches")
        state = TrainingState(task.model, settings, device, batches, identity or {})
        folder = CheckpointFolder(output_dir / "checkpoints" / name, settings.keep_checkpoints)
        run = _Run(task, name, state, folder, report, interrupted)
        run.begin(resume)
        if not processes.is_main():
            return run.train(None)
        with MetricsLog(
            output_dir / "logs",
            name,
            after_step=state.step,
            report=report,
            trackers=settings.trackers,
        ) as log:
            return run.train(log)


class _Run:
    """One run: steps, reports, validations and checkpoints until it is finished."""

    def __init__(
        self,
        task: Task,
        name: str,
        state: TrainingState,
        folder: CheckpointFolder,
        report: Report,
        interrupted: _Signalled,
    ) -> None:
        self.task, self.name, self.state, self.folder = task, name, state, folder
        self.settings, self.report, self.interrupted = state.settings, report, interrupted
        if self.settings.patience is not None and task.best_by is None:
            raise ConfigError(
                f"training '{name}': patience needs a validation figure that tells better from "
                "worse, and this component has none; leave it out"
            )

    def begin(self, resume: bool) -> None:
        """Continue from the last checkpoint, or make room for a new run's."""
        latest = self.folder.latest() if resume else None
        if len(set(processes.gather(latest))) > 1:
            raise CheckpointError(
                f"resuming '{self.name}': not all processes see the same checkpoints in "
                f"{self.folder.path}; the output has to be in a folder that all machines share"
            )
        if latest is None:
            if resume:
                self.report(TrainNote(f"{self.folder.path}: no checkpoint, starting anew"))
            if processes.is_main():
                self.folder.set_aside()
        else:
            note = self.state.restore(self.folder.load(latest), str(latest))
            if note:
                self.report(TrainNote(f"resuming '{self.name}': {note}"))
            if processes.is_main():
                self.folder.forget_after(self.state.step)
        processes.wait()
        self.loss = processes.average_gradients(
            _Loss(self.task, self.state.generator), self.state.device
        )

    def train(self, log: MetricsLog | None) -> FitResult:
        state, settings = self.state, self.settings
        resumed_at, resumed_seconds = state.step, state.seconds
        self.started = time.monotonic() - state.seconds
        self.task.model.train()
        while not self._finished():
            loss, figures, interrupted = self._one_step()
            if state.step % settings.log_every == 0 or state.step == 1:
                rate = (state.step - resumed_at) / max(state.seconds - resumed_seconds, 1e-9)
                values = _means(figures, state.device)
                values["learning_rate"] = state.learning_rate()
                if log is not None:
                    log.write(state.step, {**values, "loss": loss})
                self.report(self._done(rate, loss, values))
            last = self._finished()
            if last or state.step % settings.validate_every == 0:
                self._validate(log)
            last = last or self._finished()  # the validation may have ended it
            if last or state.step % settings.checkpoint_every == 0 or interrupted:
                self.save()
            if interrupted:
                # A process that got no signal itself ends with those that did.
                error = Interrupted(self.interrupted.number or signal.SIGINT)
                error.add_note(f"{self.name}: step {state.step} is kept; --resume goes on")
                raise error
        if self._stopped_early():
            text = f"{self.name}: no better for {state.stale} validations, stopped at {state.step}"
            self.report(TrainNote(text))
        self._take_kept_weights()
        steps, seconds = state.step - resumed_at, state.seconds - resumed_seconds
        if steps:
            self.report(self._summary(steps / max(seconds, 1e-9)))
        return FitResult(state.step, state.seconds / 60, state.validation)

    def save(self) -> None:
        """Write a checkpoint; collective."""
        content = self.state.to_save()
        if processes.is_main():
            self.folder.save(self.state.step, content)

    def _one_step(self) -> tuple[float, Mapping[str, Tensor | float], bool]:
        state = self.state
        for group in state.optimizer.param_groups:
            group["lr"] = state.learning_rate()
        loss, figures = self.loss()
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(state.parameters, self.settings.clip_norm)
        value, interrupted = self._agree(float(loss.detach()))
        self._check(value, norm)
        state.scaler.step(state.optimizer)  # not where gradients overflowed
        state.scaler.update()
        if state.average is not None:
            state.average.update()
        state.step += 1
        return value, {**figures, "gradient_norm": norm}, interrupted

    def _agree(self, loss: float) -> tuple[float, bool]:
        """Mean loss, and whether any process was interrupted; the clock is the first one's."""
        seconds = time.monotonic() - self.started if processes.is_main() else 0.0
        said = torch.tensor([loss, self.interrupted.number > 0, seconds], dtype=torch.float64)
        loss, interrupted, self.state.seconds = processes.sum_(said.to(self.state.device)).tolist()
        return loss / processes.count(), interrupted > 0

    def _check(self, loss: float, norm: Tensor) -> None:
        """Refuse to go on from a loss or a gradient that training does not recover from."""
        ratio, limit, scaler = (
            self.state.follow(loss),
            self.settings.max_loss_ratio,
            self.state.scaler,
        )
        # A gradient that overflows in float16 lowers the scale, as long as there is one to lower.
        curable = scaler.is_enabled() and scaler.get_scale() > 1
        if not math.isfinite(loss) or not (curable or bool(torch.isfinite(norm))):
            found = f"the loss is {loss} and its gradient {float(norm)}, expected numbers"
        elif limit is not None and ratio > limit:
            found = (
                f"the mean loss has grown to {self.state.loss_mean:.4g}, {ratio:.4g} times its "
                f"smallest, expected at most {limit:g} times (max_loss_ratio)"
            )
        else:
            return
        latest = self.folder.latest()
        kept = f"kept: {latest}" if latest is not None else "there is none yet"
        raise LqsepError(
            f"training '{self.name}' stopped at step {self.state.step + 1}: {found}. Last good "
            f"checkpoint {kept}. Use a lower learning_rate or clip_norm, then --resume."
        )

    def _validate(self, log: MetricsLog | None) -> None:
        state = self.state
        if log is not None:  # the first process
            averaged = nullcontext() if state.average is None else state.average.applied()
            with torch.no_grad(), averaged:
                self._validate_weights(log)
        stale = processes.broadcast_(torch.tensor(state.stale, device=state.device))
        state.stale = int(stale)

    def _validate_weights(self, log: MetricsLog) -> None:
        model, state = self.task.model, self.state
        model.eval()
        # Validation must not move the randomness of training, which a resumed run repeats.
        devices = [state.device] if state.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            figures = dict(self.task.validate())
            if self.settings.log_sounds and log.takes_sounds:
                log.write_sounds(state.step, *self.task.sounds())
        model.train()
        if not figures:
            return
        log.write(state.step, {f"validation/{key}": value for key, value in figures.items()})
        self.report(TrainValidation(self.name, figures, state.step))
        key = self.task.best_by
        state.stale += 1
        if key is None:
            state.validation = figures
        elif figures[key] < state.validation.get(key, math.inf):
            state.validation, state.stale = figures, 0
            self.folder.save_best(state.step, {"validation": figures, "model": model.state_dict()})

    def _take_kept_weights(self) -> None:
        """Best, averaged or last weights, in this order; the same in all processes."""
        model = self.task.model
        best = self.folder.load_best() if processes.is_main() and self.task.best_by else None
        if best is not None:
            model.load_state_dict(best["model"])
        elif self.state.average is not None:
            self.state.average.copy_to_model()
        for tensor in model.state_dict().values():
            processes.broadcast_(tensor)
        model.eval()

    def _done(self, rate: float, loss: float, figures: Mapping[str, float]) -> TrainStep:
        state, settings = self.state, self.settings
        left = (settings.steps - state.step) / rate
        if settings.max_minutes is not None:
            left = min(left, max(settings.max_minutes * 60 - state.seconds, 0.0))
        progress = TrainProgress(state.step, settings.steps, state.done(), rate, left)
        return TrainStep(self.name, progress, loss, figures, self._per_second(rate))

    def _summary(self, rate: float) -> TrainFinished:
        state = self.state
        return TrainFinished(
            self.name,
            state.step,
            state.seconds / 60,
            rate,
            self._per_second(rate),
            dict(state.validation),
        )

    def _per_second(self, rate: float) -> dict[str, float]:
        return {what: amount * rate for what, amount in self.task.per_step.items()}

    def _finished(self) -> bool:
        return self.state.done() >= 1.0 or self._stopped_early()

    def _stopped_early(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.state.stale >= patience


class _Loss(nn.Module):
    """A task's loss as a module: what PyTorch can average the gradients of."""

    def __init__(self, task: Task, generator: torch.Generator) -> None:
        super().__init__()
        self.model = task.model
        self._task, self._generator = task, generator

    def forward(self) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        return self._task.loss(self._generator)


def _means(figures: Mapping[str, Tensor | float], device: torch.device) -> dict[str, float]:
    """Figures averaged over all processes."""
    values = torch.tensor([float(value) for value in figures.values()], dtype=torch.float64)
    means = processes.sum_(values.to(device)) / processes.count()
    return dict(zip(figures, means.tolist(), strict=True))


@dataclass
class _Signalled:
    """Which signal has come; 0 = none."""

    number: int = 0


@contextmanager
def _interruptible() -> Iterator[_Signalled]:
    """Turn the first Ctrl-C into a flag, so that a step is never cut in two; a second one kills.

    SIGTERM, which torchrun and job schedulers send, and SIGHUP set the flag too, unless they are
    ignored (``nohup``).
    """
    flag = _Signalled()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    seen: set[int] = set()

    def note(signum: int, frame: object) -> None:
        if signum in seen:
            raise Interrupted(signum)
        seen.add(signum)
        flag.number = flag.number or signum

    known = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
    caught = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, note) for number in caught}
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
