"""The optimiser of the reference, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class JukeboxAdam(torch.optim.Optimizer):
    """Adam as Jukebox trains with it.

    ``p -= lr sqrt(1 - b2^t) / (1 - b1^t) (m / (sqrt(v) + eps) + weight_decay p)``

    Two things differ from `torch.optim.AdamW`: epsilon is compared with the root of the biased
    ``v``, so that it counts for more in the first steps, and the weight decay is scaled by the bias
    correction as well.

    Args:
        parameters: To be trained.
        lr: Learning rate.
        betas: Decay of the two averages.
        eps: Added to the root of the second one.
        weight_decay: Decoupled from the gradient.

    Reference: Dhariwal et al. 2020, arXiv:2005.00341 (its published training code).
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: nn.Parameter, group: Mapping[str, Any]) -> None:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        first, second = group["betas"]
        gradient = parameter.grad
        assert gradient is not None
        mean = state["mean"].lerp_(gradient, 1 - first)
        square = state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        correction = math.sqrt(1 - second ** state["step"]) / (1 - first ** state["step"])
        change = mean / (square.sqrt() + group["eps"])
        if group["weight_decay"]:
            change.add_(parameter, alpha=group["weight_decay"])
        parameter.add_(change, alpha=-group["lr"] * correction)


class WeightAverage:
    """An exponential moving average of a model's parameters, started at their present values.

    Buffers, such as codebooks with their own running averages, are not averaged.

    Args:
        parameters: Of the model.
        decay: What an update keeps of the average, from 0 to 1.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.parameters = tuple(parameters)
        self.decay = decay
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """After an optimiser step."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            value.lerp_(parameter, 1 - self.decay)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """The parameters become their averages."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            parameter.copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights inside, its own again afterwards."""
        own = [parameter.detach().clone() for parameter in self.parameters]
        self.copy_to_model()
        try:
            yield
        finally:
            with torch.no_grad():
                for kept, parameter in zip(own, self.parameters, strict=True):
                    parameter.copy_(kept)

    def state_dict(self) -> dict[str, list[Tensor]]:
        """For a checkpoint."""
        return {"values": self.values}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Sequence[Tensor]]) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: It is of another model.
        """
        for value, stored in zip(self.values, state["values"], strict=True):
            value.copy_(stored)
