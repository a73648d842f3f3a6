"""What trainers tell of themselves."""

import time

import pytest

from lqsep.core.training.events import TrainProgress


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
