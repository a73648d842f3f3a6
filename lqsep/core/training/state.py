"""What a training run carries from step to step; a checkpoint holds all of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from lqsep.core.errors import CheckpointError, first_line
from lqsep.core.training import processes
from lqsep.core.training.optimizers import JukeboxAdam, WeightAverage
from lqsep.core.training.settings import LoopSettings

_VERSION = 2

# Of the loss in float16; halved whenever gradients overflow.
_FIRST_SCALE = 2.0**16

_OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "jukebox-adam": JukeboxAdam,
}


class TrainingState:
    """Model, optimiser, averaged weights, random generators and counters of a run.

    Args:
        model: Trained in place.
        settings: Of the loop.
        device: Where the model lives.
        generator: Draws the joint batches, the same in all processes.
        identity: What a checkpoint has to agree with to be of this run, such as the sizes.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: LoopSettings,
        device: torch.device,
        generator: torch.Generator,
        identity: Mapping[str, str],
    ) -> None:
        self.model, self.settings, self.device = model, settings, device
        self.identity = {**identity, "optimizer": settings.optimizer}
        self.generator = generator
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = _OPTIMIZERS[settings.optimizer](
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average: WeightAverage | None = None
        if settings.ema_decay is not None:
            self.average = WeightAverage(self.parameters, settings.ema_decay)
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=settings.precision == "float16", init_scale=_FIRST_SCALE
        )
        self.step = 0
        self.seconds = 0.0
        self.validation: dict[str, float] = {}
        self.stale = 0  # validations since the best one
        self.loss_mean: float | None = None
        self.lowest_mean = math.inf

    def follow(self, loss: float) -> float:
        """Count a step's loss; its running mean over the smallest so far, 1 at the least."""
        mean = loss if self.loss_mean is None else self.loss_mean + (loss - self.loss_mean) / 10
        self.loss_mean, self.lowest_mean = mean, min(self.lowest_mean, mean)
        return mean / self.lowest_mean if self.lowest_mean > 0 else 1.0

    def done(self) -> float:
        """Share of the run that lies behind, from 0 to 1."""
        done = self.step / self.settings.steps
        if self.settings.max_minutes is not None:
            done = max(done, self.seconds / (60 * self.settings.max_minutes))
        return min(done, 1.0)

    def learning_rate(self) -> float:
        """Of the next step: linear warm-up, then constant or a cosine to the final value."""
        settings = self.settings
        if self.step < settings.warmup_steps:
            return settings.learning_rate * (self.step + 1) / settings.warmup_steps
        if settings.schedule == "constant":
            return settings.learning_rate
        cosine = 0.5 * (1 + math.cos(math.pi * self.done()))
        floor = settings.final_learning_rate
        return settings.learning_rate * (floor + (1 - floor) * cosine)

    def to_save(self) -> dict[str, Any]:
        """The state for a checkpoint; collective, see `lqsep.core.training.processes`."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return {
            "version": _VERSION,
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "generator": self.generator.get_state(),
            "random": processes.gather({"cpu": torch.get_rng_state(), "cuda": cuda}),
            "scaler": self.scaler.state_dict(),
            "validation": self.validation,
            "stale": self.stale,
            "loss_means": (self.loss_mean, self.lowest_mean),
        }

    def restore(self, state: Mapping[str, Any], where: str) -> str | None:
        """Go on from a checkpoint; gives what the user should know, if anything.

        Raises:
            CheckpointError: It is of another run; ``where`` names it.
        """
        try:
            if state["version"] != _VERSION:
                raise ValueError(f"expected version {_VERSION}, got {state['version']}")
            self._check_identity(state["identity"])
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                if state["average"] is None:  # the run had none so far
                    self.average = WeightAverage(self.parameters, self.average.decay)
                else:
                    self.average.load_state_dict(state["average"])
            self.generator.set_state(state["generator"].clone())
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            if self.scaler.is_enabled() and state["scaler"]:
                self.scaler.load_state_dict(state["scaler"])
            self.validation, self.stale = dict(state["validation"]), int(state["stale"])
            self.loss_mean, self.lowest_mean = state["loss_means"]
            return self._restore_random(state["random"])
        except Exception as error:
            raise CheckpointError(
                f"resuming: {where} does not fit this run ({first_line(error)}). Use the "
                "configuration it was started with, or leave out --resume to start anew."
            ) from error

    def _check_identity(self, found: Mapping[str, str]) -> None:
        for key in sorted({*found, *self.identity}):
            if found.get(key) != self.identity.get(key):
                raise ValueError(f"{key}: expected {self.identity.get(key)}, got {found.get(key)}")

    def _restore_random(self, states: list[dict[str, Any]]) -> str | None:
        if len(states) != processes.count():
            return (
                f"the run had {len(states)} processes and now has {processes.count()}: "
                "its random numbers will differ from those of an unbroken run"
            )
        own = states[processes.rank()]
        # A view into the file's storage crashes torch: hence the clones.
        torch.set_rng_state(own["cpu"].clone())
        if self.device.type == "cuda" and own["cuda"] is not None:
            torch.cuda.set_rng_state(own["cuda"].clone(), self.device)
        return None
