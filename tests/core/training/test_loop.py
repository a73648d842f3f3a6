"""The shared training loop: resuming, stopping, choosing weights."""

import errno
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lqsep.core.errors import CheckpointError, ConfigError, LqsepError
from lqsep.core.training.checkpoints import CheckpointFolder
from lqsep.core.training.events import (
    TrainEvent,
    TrainFinished,
    TrainNote,
    TrainStep,
    TrainValidation,
)
from lqsep.core.training.loop import FitResult, Task, fit
from lqsep.core.training.settings import LoopSettings

SETTINGS = LoopSettings(
    steps=20, learning_rate=0.05, warmup_steps=4, log_every=1, validate_every=5, checkpoint_every=5
)


class Line(Task):
    """Fits a line; draws data from the loop's generator and dropout from the global one.

    ``at`` maps a step (from 1) to what happens in its loss.
    """

    def __init__(self, at: Mapping[int, Any] | None = None) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.at = dict(at or {})
        self.calls = 0
        self.first_batch: Tensor | None = None

    def loss(self, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        self.calls += 1
        batch = torch.randn(8, 3, generator=generator)
        if self.first_batch is None:
            self.first_batch = batch
        loss = (self.model(batch) - batch.sum(1, keepdim=True)).square().mean()
        if self.calls in self.at:
            loss = self.at[self.calls](loss)
        return loss, {"twice": 2 * loss.detach()}

    def validate(self) -> Mapping[str, float]:
        assert not self.model.training and not torch.is_grad_enabled()
        torch.rand(())  # must not move the randomness of training
        return {"error": float(self.model(torch.ones(1, 3)) - 3) ** 2}


class Crash(Exception):
    pass


def crash(loss: Tensor) -> Tensor:
    raise Crash


def interrupt(loss: Tensor) -> Tensor:
    os.kill(os.getpid(), signal.SIGINT)
    return loss


def run(
    task: Task,
    folder: Path,
    settings: LoopSettings = SETTINGS,
    *,
    resume: bool = False,
    seed: int = 3,
    reports: list[TrainEvent] | None = None,
    identity: Mapping[str, str] | None = None,
    name: str = "line",
) -> FitResult:
    found = [] if reports is None else reports
    return fit(
        task,
        settings,
        name=name,
        output_dir=folder,
        device=torch.device("cpu"),
        seed=seed,
        resume=resume,
        report=found.append,
        identity=identity,
    )


def notes(reports: list[TrainEvent]) -> list[str]:
    return [report.text for report in reports if isinstance(report, TrainNote)]


def lines(folder: Path) -> list[dict[str, float]]:
    text = (folder / "logs" / "line.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def checkpoint(folder: Path) -> dict[str, Any]:
    folder = folder / "checkpoints" / "line"
    return torch.load(max(folder.glob("step-*.pt")), weights_only=True)


def weights(task: Task) -> Tensor:
    return torch.cat([p.detach().flatten() for p in task.model.parameters()])


def test_a_crashed_run_resumes_to_the_same_numbers(tmp_path: Path) -> None:
    whole = Line()
    expected = run(whole, tmp_path / "whole")
    with pytest.raises(Crash):
        run(Line({13: crash}), tmp_path / "parts")
    assert checkpoint(tmp_path / "parts")["step"] == 10
    assert lines(tmp_path / "parts")[-1]["step"] == 12
    parts = Line()
    found = run(parts, tmp_path / "parts", resume=True)
    assert parts.calls == 10
    # Exact: the same operations in the same order on a CPU.
    assert torch.equal(weights(parts), weights(whole))
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    assert (found.step, found.validation) == (20, expected.validation)


def test_without_resume_the_run_starts_anew(tmp_path: Path) -> None:
    first, second = Line(), Line()
    run(first, tmp_path)
    run(second, tmp_path)
    assert second.calls == 20
    assert torch.equal(weights(first), weights(second))
    assert [line["step"] for line in lines(tmp_path) if "loss" in line] == list(range(1, 21))


def test_a_run_that_starts_anew_puts_the_one_before_aside(tmp_path: Path) -> None:
    for steps in (20, 10, 5):
        run(Line(), tmp_path, SETTINGS.model_copy(update={"steps": steps}))
    folder = tmp_path / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["line", "line.previous"]
    assert [path.name for path in (folder / "line").iterdir()] == ["step-00000005.pt"]
    assert (folder / "line.previous" / "step-00000010.pt").exists()


def test_the_seed_decides_what_is_drawn(tmp_path: Path) -> None:
    first, second = Line(), Line()
    run(first, tmp_path / "a", seed=1)
    run(second, tmp_path / "b", seed=2)
    assert not torch.equal(weights(first), weights(second))


class Drawing(Line):
    """Remembers what it draws first, of the joint batch and of this process's own."""

    drawn: tuple[Tensor, Tensor] | None = None

    def loss(self, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        if self.drawn is None:
            self.drawn = torch.rand(50, generator=generator), torch.rand(50)
        return super().loss(generator)


def test_nothing_is_drawn_twice(tmp_path: Path) -> None:
    found = []
    for name in ("codec", "prior.bass"):
        task = Drawing()
        run(task, tmp_path, SETTINGS.model_copy(update={"steps": 1}), name=name)
        assert task.drawn is not None
        found += [*task.drawn]
    found.append(torch.rand(50, generator=torch.Generator().manual_seed(3)))
    # Float32 has 24 bits: by chance one of 500 pairs is equal in one of 30,000 runs.
    for first, second in itertools.combinations(found, 2):
        assert not (first == second).any()


def test_validating_changes_nothing(tmp_path: Path) -> None:
    often, seldom = Line(), Line()
    run(often, tmp_path / "often", SETTINGS.model_copy(update={"validate_every": 1}))
    run(seldom, tmp_path / "seldom", SETTINGS.model_copy(update={"validate_every": 20}))
    assert torch.equal(weights(often), weights(seldom))


def test_global_randomness_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(Line(), tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda loss: loss * float("nan"), id="loss"),
        # The square root has an infinite slope at 0: only the gradient is spoilt.
        pytest.param(lambda loss: loss + (loss - loss).sqrt(), id="gradient"),
    ],
)
def test_stops_when_the_loss_is_no_number(tmp_path: Path, spoil: Any) -> None:
    with pytest.raises(LqsepError, match=r"step 8.*expected numbers.*step-00000005\.pt.*--resume"):
        run(Line({8: spoil}), tmp_path)
    kept = checkpoint(tmp_path)
    assert kept["step"] == 5
    assert all(tensor.isfinite().all() for tensor in kept["model"].values())
    task = Line()
    assert run(task, tmp_path, resume=True).step == 20


def test_stops_when_the_loss_explodes(tmp_path: Path) -> None:
    def grow(loss: Tensor) -> Tensor:
        return loss * 1e4

    task = Line(dict.fromkeys(range(8, 21), grow))
    with pytest.raises(LqsepError, match=r"mean loss has grown to .*max_loss_ratio.*step-0*5\.pt"):
        run(task, tmp_path)
    assert checkpoint(tmp_path)["step"] == 5
    endless = SETTINGS.model_copy(update={"max_loss_ratio": None})
    assert run(Line(task.at), tmp_path / "endless", endless).step == 20


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(loss: Tensor) -> Tensor:
        monkeypatch.setattr(os, "fsync", full_disk)
        return loss

    with pytest.raises(CheckpointError, match=r"No space left.*step-0*5\.pt is kept.*--resume"):
        run(Line({8: fill}), tmp_path)
    monkeypatch.undo()
    names = [path.name for path in (tmp_path / "checkpoints" / "line").iterdir()]
    assert names == ["step-00000005.pt"]
    whole, parts = Line(), Line()
    run(whole, tmp_path / "whole")
    run(parts, tmp_path, resume=True)
    assert torch.equal(weights(parts), weights(whole))


def test_a_write_that_stops_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="not on Unix")
    folder = CheckpointFolder(tmp_path, keep=1)
    folder.save(1, {"values": torch.arange(10)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write .*File too large"):
            folder.save(2, {"values": torch.arange(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.pt"]
    assert torch.equal(folder.load(folder.file(1))["values"], torch.arange(10))


def test_ctrl_c_writes_a_checkpoint(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(Line({7: interrupt}), tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoint(tmp_path)["step"] == 7
    whole, parts = Line(), Line()
    run(whole, tmp_path / "whole")
    run(parts, tmp_path, resume=True)
    assert torch.equal(weights(parts), weights(whole))


def test_sigterm_writes_a_checkpoint_too(tmp_path: Path) -> None:
    def end(loss: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return interrupt(loss)  # torchrun may send both

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(Line({7: end}), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
    assert checkpoint(tmp_path)["step"] == 7


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Line({7: lambda loss: interrupt(interrupt(loss))}), tmp_path)
    assert checkpoint(tmp_path)["step"] == 5


def test_runs_in_another_thread(tmp_path: Path) -> None:
    results: list[FitResult] = []
    thread = threading.Thread(target=lambda: results.append(run(Line(), tmp_path)))
    thread.start()
    thread.join()
    assert results[0].step == 20


def test_no_temporary_file_remains(tmp_path: Path) -> None:
    run(Line(), tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").rglob("*"))
    assert names == ["line", "step-00000015.pt", "step-00000020.pt"]


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_checkpoints_stay(tmp_path: Path, keep: int) -> None:
    run(Line(), tmp_path, SETTINGS.model_copy(update={"keep_checkpoints": keep}))
    found = sorted(path.name for path in (tmp_path / "checkpoints" / "line").iterdir())
    assert found == [f"step-{step:08d}.pt" for step in (5, 10, 15, 20)][-keep:]


def test_resuming_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    reports: list[TrainEvent] = []
    assert run(Line(), tmp_path, resume=True, reports=reports).step == 20
    assert any("starting anew" in note for note in notes(reports))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Crash):
        run(Line({13: crash}), tmp_path)
    path = tmp_path / "checkpoints" / "line" / "step-00000010.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot read .*step-00000010\.pt.*Delete it"):
        run(Line(), tmp_path, resume=True)
    path.unlink()
    task = Line()
    assert run(task, tmp_path, resume=True).step == 20
    assert task.calls == 15


def test_a_checkpoint_of_another_model_is_an_error(tmp_path: Path) -> None:
    run(Line(), tmp_path)
    other = Line()
    other.model = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 1))
    with pytest.raises(CheckpointError, match="Use the configuration it was started with"):
        run(other, tmp_path, resume=True)


def test_a_checkpoint_of_another_configuration_is_an_error(tmp_path: Path) -> None:
    run(Line(), tmp_path, identity={"sample_rate": "22050", "width": "4"})
    with pytest.raises(CheckpointError, match="sample_rate: expected 44100, got 22050"):
        run(Line(), tmp_path, resume=True, identity={"sample_rate": "44100", "width": "4"})
    other = SETTINGS.model_copy(update={"optimizer": "jukebox-adam"})
    with pytest.raises(CheckpointError, match="optimizer: expected jukebox-adam, got adamw"):
        run(Line(), tmp_path, other, resume=True, identity={"sample_rate": "22050", "width": "4"})


def test_warm_up_and_cosine(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"final_learning_rate": 0.1})
    run(Line(), tmp_path, settings)
    rates = {line["step"]: line["learning_rate"] for line in lines(tmp_path) if "loss" in line}
    # The rate logged at a step is the next step's.
    assert rates[1] == pytest.approx(0.05 * 2 / 4)
    assert rates[3] == pytest.approx(0.05)
    assert rates[10] == pytest.approx(0.05 * (0.1 + 0.9 * 0.5))
    assert rates[20] == pytest.approx(0.05 * 0.1)
    assert rates[5] > rates[10] > rates[15] > rates[20]


def test_constant_rate(tmp_path: Path) -> None:
    run(Line(), tmp_path, SETTINGS.model_copy(update={"schedule": "constant"}))
    rates = [line["learning_rate"] for line in lines(tmp_path) if "loss" in line]
    assert rates[3:] == [0.05] * 17


def test_gradients_are_clipped(tmp_path: Path) -> None:
    task = Line()
    before = weights(task)
    settings = SETTINGS.model_copy(update={"steps": 1, "clip_norm": 1e-12, "warmup_steps": 0})
    run(task, tmp_path, settings)
    # Adam divides by its own estimate plus 1e-8: gradients of 1e-12 move weights by 1e-4 steps.
    assert float((weights(task) - before).abs().max()) < 0.05 * 2e-4


def test_the_clock_ends_the_run(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"steps": 10**9, "max_minutes": 0.2 / 60})
    reports: list[TrainEvent] = []
    result = run(Line(), tmp_path, settings, reports=reports)
    assert 0 < result.step < 10**6
    assert 0.2 / 60 <= result.minutes < 6 / 60  # the last step may be slow on a busy machine
    last = [report for report in reports if isinstance(report, TrainStep)][-1]
    assert last.progress.eta_s <= 0.2 and last.figures["learning_rate"] < 0.05
    again = Line()
    assert run(again, tmp_path, settings, resume=True).step == result.step
    assert again.calls == 0


class Valley(Line):
    """Its validation figure is smallest at step 10."""

    best_by = "height"

    def __init__(self, at: Mapping[int, Any] | None = None) -> None:
        super().__init__(at)
        self.seen: list[Tensor] = []

    def validate(self) -> Mapping[str, float]:
        self.seen.append(weights(self))
        return {"height": abs(5 * len(self.seen) - 10.0)}


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    task = Valley()
    result = run(task, tmp_path)
    assert result.validation == {"height": 0.0}
    assert torch.equal(weights(task), task.seen[1])
    assert not torch.equal(weights(task), task.seen[3])


def test_the_best_weights_survive_resuming(tmp_path: Path) -> None:
    whole = Valley()
    run(whole, tmp_path / "whole")
    first = Valley({13: crash})
    with pytest.raises(Crash):
        run(first, tmp_path / "parts")
    second = Valley()
    second.seen = first.seen
    run(second, tmp_path / "parts", resume=True)
    assert torch.equal(weights(second), weights(whole))


def test_stops_when_validation_gets_no_better(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"validate_every": 2, "patience": 3})
    settings = settings.model_copy(update={"checkpoint_every": 3})

    class Pit(Valley):
        def validate(self) -> Mapping[str, float]:
            self.seen.append(weights(self))
            return {"height": float(abs(self.optimum - len(self.seen)))}

        optimum = 4

    task = Pit()
    reports: list[TrainEvent] = []
    result = run(task, tmp_path, settings, reports=reports)
    assert result.step == 14 and result.validation == {"height": 0.0}
    assert torch.equal(weights(task), task.seen[3])
    assert any("no better for 3 validations" in note for note in notes(reports))
    # The best of step 8 is kept beside the checkpoints, all of them later.
    names = sorted(path.name for path in (tmp_path / "checkpoints" / "line").iterdir())
    assert names == [f"{name}.pt" for name in ("best-00000008", "step-00000012", "step-00000014")]
    again = Pit()
    assert run(again, tmp_path, settings, resume=True).step == 14
    assert again.calls == 0 and torch.equal(weights(again), task.seen[3])


def test_what_was_best_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"validate_every": 2, "checkpoint_every": 10})

    class Falling(Valley):
        def validate(self) -> Mapping[str, float]:
            self.seen.append(weights(self))
            return {"height": -float(len(self.seen))}

    with pytest.raises(Crash):
        run(Falling({15: crash}), tmp_path, settings)
    folder = CheckpointFolder(tmp_path / "checkpoints" / "line", keep=2)
    assert folder.steps() == [10] and folder.steps("best") == [10, 12, 14]
    with pytest.raises(Crash):
        run(Falling({1: crash}), tmp_path, settings, resume=True)
    assert folder.steps("best") == [10]


def test_patience_needs_a_figure_to_judge_by(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="patience needs a validation figure"):
        run(Line(), tmp_path, SETTINGS.model_copy(update={"patience": 1}))


def test_half_precision_scales_the_loss(tmp_path: Path) -> None:
    def overflow(loss: Tensor) -> Tensor:
        return loss + (loss * 1e38 - (loss * 1e38).detach())

    settings = SETTINGS.model_copy(update={"precision": "float16"})
    whole = Line({7: overflow, 8: overflow})
    run(whole, tmp_path / "whole", settings)
    # Two overflows: the steps are left out, and the scale is halved twice.
    assert checkpoint(tmp_path / "whole")["scaler"]["scale"] == 2.0**14
    assert all(weight.isfinite().all() for weight in whole.model.parameters())
    with pytest.raises(Crash):
        run(Line({7: overflow, 8: overflow, 13: crash}), tmp_path / "parts", settings)
    parts = Line()
    run(parts, tmp_path / "parts", settings, resume=True)
    assert torch.equal(weights(parts), weights(whole))
    assert checkpoint(tmp_path / "parts")["scaler"]["scale"] == 2.0**14


def test_reports(tmp_path: Path) -> None:
    reports: list[TrainEvent] = []
    run(Line(), tmp_path, reports=reports)
    steps = [report for report in reports if isinstance(report, TrainStep)]
    assert [report.progress.step for report in steps] == list(range(1, 21))
    assert steps[9].progress.done == 0.5 and steps[9].progress.steps == 20
    assert steps[9].loss is not None
    assert steps[9].figures["twice"] == pytest.approx(2 * steps[9].loss)
    assert steps[-1].progress.eta_s == 0.0 and steps[9].progress.eta_s > 0
    last = reports[-1]
    assert isinstance(last, TrainFinished) and last.step == 20
    assert last.figures.keys() == {"error"} and last.per_second == {}
    validation = [report for report in reports if isinstance(report, TrainValidation)]
    assert [report.step for report in validation] == [5, 10, 15, 20]
    assert all(report.figures.keys() == {"error"} for report in validation)
    assert {report.name for report in (*steps, *validation, last)} == {"line"}


def test_tensorboard_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    reports: list[TrainEvent] = []
    run(Line(), tmp_path, reports=reports)
    assert len(notes(reports)) == 1 and "tensorboard" in notes(reports)[0]
    assert len(lines(tmp_path)) == 24
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["line.jsonl"]


def test_tensorboard_gets_the_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run(Line(), tmp_path)
    events = list((tmp_path / "logs" / "line").iterdir())
    assert len(events) == 1 and events[0].stat().st_size > 500
