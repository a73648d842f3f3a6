"""The reference's optimiser against its recorded trace, and averaged weights."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lqsep.core.training.loop import Task, fit
from lqsep.core.training.optimizers import JukeboxAdam, WeightAverage
from lqsep.core.training.settings import LoopSettings

# Recorded and recomputed in float32, after at most 8 steps of size 3e-4 on values around 1.
_ATOL = 1e-6


def test_trace_of_the_reference(golden):
    """Eight steps of clipping, optimiser and average on two tensors."""
    recorded = golden.npz("optim")
    start = [torch.from_numpy(recorded[name].copy()) for name in ("w0_init", "w1_init")]
    parameters = [nn.Parameter(tensor) for tensor in start]
    optimizer = JukeboxAdam(
        parameters,
        lr=0.0,
        betas=(float(recorded["beta1"]), float(recorded["beta2"])),
        eps=float(recorded["eps"]),
        weight_decay=float(recorded["weight_decay"]),
    )
    average = WeightAverage(parameters, float(recorded["ema_mu"]))
    for step, rate in enumerate(recorded["lrs"]):
        for number, parameter in enumerate(parameters):
            parameter.grad = torch.from_numpy(recorded[f"g{number}"][step].copy())
        nn.utils.clip_grad_norm_(parameters, float(recorded["clip"]))
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.step()
        average.update()
        for number, parameter in enumerate(parameters):
            expected = recorded[f"w{number}"][step]
            np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=0, atol=_ATOL)
    for number, value in enumerate(average.values):
        np.testing.assert_allclose(value.numpy(), recorded[f"ema{number}"], rtol=0, atol=_ATOL)


def test_weight_decay_and_epsilon_enter_as_documented():
    parameter = nn.Parameter(torch.tensor([2.0]))
    optimizer = JukeboxAdam([parameter], lr=0.1, eps=0.5, weight_decay=0.01)
    parameter.grad = torch.tensor([1.0])
    optimizer.step()
    correction = (1 - 0.999) ** 0.5 / (1 - 0.9)
    change = 0.1 / (0.001**0.5 + 0.5) + 0.01 * 2
    assert parameter.item() == pytest.approx(2 - 0.1 * correction * change, rel=1e-6)


def test_average_is_applied_for_a_while_only():
    parameter = nn.Parameter(torch.tensor([0.0]))
    average = WeightAverage([parameter], 0.5)
    with torch.no_grad():
        parameter.fill_(4)
    average.update()
    with average.applied():
        assert parameter.item() == 2
    assert parameter.item() == 4
    with pytest.raises(RuntimeError), average.applied():
        raise RuntimeError
    assert parameter.item() == 4


class Target(Task):
    """One weight on its way to 1, with a batch of noise."""

    def __init__(self) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.validated: list[float] = []

    def loss(self, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        noise = torch.randn(1, generator=generator)
        return (self.model.weight - 1 - noise).square().sum(), {}

    def validate(self) -> Mapping[str, float]:
        self.validated.append(float(self.model.weight.detach()))
        return {"weight": self.validated[-1]}


def run(folder: Path, *, resume: bool = False, stop_at: int | None = None, **changes) -> Target:
    settings = LoopSettings(
        **{
            "steps": 20,
            "learning_rate": 0.1,
            "warmup_steps": 2,
            "validate_every": 5,
            "checkpoint_every": 5,
            "ema_decay": 0.8,
            **changes,
        }
    )
    task = Target()
    if stop_at is not None:
        wanted, calls = task.loss, iter(range(1, 100))

        def stopping(generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor | float]]:
            if next(calls) > stop_at:
                raise InterruptedError
            return wanted(generator)

        task.loss = stopping  # type: ignore[method-assign]
    fit(
        task,
        settings,
        name="target",
        output_dir=folder,
        device=torch.device("cpu"),
        seed=0,
        resume=resume,
        report=lambda figures: None,
    )
    return task


@pytest.mark.parametrize("optimizer", ["adamw", "jukebox-adam"])
def test_training_keeps_the_average(tmp_path: Path, optimizer: str):
    averaged = run(tmp_path / "average", optimizer=optimizer)
    plain = run(tmp_path / "plain", optimizer=optimizer, ema_decay=None)
    # What is kept is what was validated last, and lags behind the weight itself.
    assert averaged.model.weight.item() == averaged.validated[-1]
    assert averaged.model.weight.item() < plain.model.weight.item()
    assert plain.model.weight.item() == plain.validated[-1]


def test_a_resumed_run_goes_on_with_its_average(tmp_path: Path):
    whole = run(tmp_path / "whole")
    with pytest.raises(InterruptedError):
        run(tmp_path / "halves", stop_at=12)
    resumed = run(tmp_path / "halves", resume=True)
    assert resumed.model.weight.item() == whole.model.weight.item()
    # Without the stored average it would begin at the weights of the checkpoint.
    assert resumed.validated == whole.validated[-2:]


def test_an_average_may_begin_in_the_middle(tmp_path: Path):
    with pytest.raises(InterruptedError):
        run(tmp_path, stop_at=12, ema_decay=None)
    begun = run(tmp_path, resume=True, ema_decay=0.999)
    last = max((tmp_path / "checkpoints/target").glob("step-*.pt"))
    checkpoint = torch.load(last, weights_only=True)
    # It moves by a hundredth of the way in ten steps, from where the first run had come.
    assert begun.model.weight.item() > 0.2
    assert float(checkpoint["average"]["values"][0]) == begun.model.weight.item()
