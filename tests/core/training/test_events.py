"""What trainers tell of themselves."""

import time

import pytest

from lqsep.core.training.events import TrainEvent, TrainProgress, TrainStep, tell_steps


def test_progress_of_steps_that_take_equally_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 108.0)
    found = TrainProgress.since(100.0, 4, 10)
    assert found == TrainProgress(4, 10, done=0.4, steps_per_s=0.5, eta_s=12.0)
    # Two of them were done before the clock started.
    assert TrainProgress.since(100.0, 4, 10, before=2).eta_s == 24.0
    assert TrainProgress.since(100.0, 10, 10) == TrainProgress(10, 10, 1.0, 1.25, 0.0)


def test_nothing_is_known_before_the_first_step() -> None:
    assert TrainProgress.since(time.monotonic(), 0, 10).eta_s == float("inf")
    # A clock that stands still, as it does for a step that takes no time.
    assert TrainProgress.since(time.monotonic() + 1, 1, 10).eta_s == pytest.approx(9e-9)


def test_a_callback_that_counts_is_told_as_steps() -> None:
    told: list[TrainEvent] = []
    tell = tell_steps(told.append, "likelihood")
    for done in (0.3, 1.6, 3.9):
        tell(done, 4.2)
    steps = [event.progress.step for event in told if isinstance(event, TrainStep)]
    # Nothing is known of the speed before a whole step is done.
    assert steps == [2, 4]
    last = told[-1]
    assert isinstance(last, TrainStep)
    assert (last.name, last.progress.done) == ("likelihood", 1.0)
