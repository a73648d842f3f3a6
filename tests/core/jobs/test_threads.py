"""Order, failures and early ends of work in threads."""

import threading

import pytest

from lqsep.core.jobs.threads import in_threads


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_stand_in_the_order_of_the_tasks(jobs):
    first_may_end = threading.Event()

    def work(task):
        if task == 0 and jobs > 1:
            assert first_may_end.wait(60)  # the second is done before the first
        if task == 1:
            first_may_end.set()
        return task**2

    assert list(in_threads(work, range(20), jobs)) == [task**2 for task in range(20)]


def test_no_tasks():
    assert list(in_threads(print, [], 2)) == []


def test_a_failure_ends_it_and_no_waiting_task_is_begun():
    stop, begun = threading.Event(), []

    def work(task):
        begun.append(task)
        if task == 1:
            raise OSError("no more")
        assert task == 0 or stop.wait(60)
        return task

    results = in_threads(work, range(1000), 1, stop=stop)
    assert next(results) == 0
    with pytest.raises(OSError, match="no more"):
        list(results)
    assert begun in ([0, 1], [0, 1, 2])


def test_going_no_further_stops_what_runs_and_waits_for_it():
    stop, ended, begun = threading.Event(), [], []

    def work(task):
        begun.append(task)
        if task == 0:
            return task
        assert stop.wait(60)
        ended.append(task)
        return task

    results = in_threads(work, range(100), 2, stop=stop)
    assert next(results) == 0
    results.close()
    assert sorted([0, *ended]) == sorted(begun)
    assert len(begun) <= 4 and threading.active_count() == 1
