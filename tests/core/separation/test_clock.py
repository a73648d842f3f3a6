"""Seconds by stage."""

import pytest

from lqsep.core.separation import clock as stage_clock
from lqsep.core.separation.clock import StageClock


@pytest.fixture
def now(monkeypatch):
    """The time, to be set."""
    now = [0.0]
    monkeypatch.setattr(stage_clock.time, "perf_counter", lambda: now[0])
    return now


def test_stages_within_stages_are_counted_once(now):
    clock = StageClock({"encode": 1.0})
    with clock("refine"):
        now[0] += 2
        with clock("decode"):
            assert clock.stage == "decode"
            now[0] += 8
        assert clock.stage == "refine"
        now[0] += 4
    assert clock.stage == ""
    assert clock.seconds == {"encode": 1.0, "refine": 6.0, "decode": 8.0}


def test_a_stage_may_be_entered_again(now):
    before = {"decode": 1.0}
    clock = StageClock(before)
    for _ in range(2):
        with clock("decode"):
            now[0] += 2
    assert clock.seconds == {"decode": 5.0}
    assert before == {"decode": 1.0}


def test_the_stage_of_an_error_stays(now):
    clock = StageClock()
    with pytest.raises(ValueError), clock("sample"):
        raise ValueError
    assert clock.stage == "sample"
