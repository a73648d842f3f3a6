import logging

import numpy as np
import pytest
import torch

from lqsep.core.inference.batches import BatchLimit, in_batches


def needing(most: int, calls: list[tuple[int, int]]):
    """A function that does not fit when it is given more than ``most`` items."""

    def function(start, stop):
        calls.append((start, stop))
        if stop - start > most:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return list(range(start, stop))

    return function


@pytest.mark.parametrize("n", [0, 1, 7, 16])
@pytest.mark.parametrize("batch_size", [None, 1, 3, 100])
def test_covers_everything_in_order(n, batch_size):
    calls = []
    results = in_batches(needing(100, calls), n, batch_size)
    assert sum(results, []) == list(range(n))
    assert all(stop - start <= (batch_size or n) for start, stop in calls)


def test_everything_at_once_by_default():
    calls = []
    in_batches(needing(100, calls), 9)
    assert calls == [(0, 9)]


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_halves_until_it_fits_and_goes_on(most, caplog):
    calls = []
    with caplog.at_level(logging.WARNING, logger="lqsep"):
        results = in_batches(needing(most, calls), 13)
    assert sum(results, []) == list(range(13))
    # After the first size that fits nothing larger is tried.
    sizes = [stop - start for start, stop in calls]
    assert sizes == sorted(sizes, reverse=True)
    first_to_fit = next(size for size in sizes if size <= most)
    assert sizes[: sizes.index(first_to_fit) + 1] == [
        half for half in (13, 7, 4, 2, 1) if half >= first_to_fit
    ]
    assert caplog.records and "out of device memory" in caplog.text


def test_a_limit_is_remembered_by_the_next_call():
    calls = []
    limit = BatchLimit()
    in_batches(needing(3, calls), 8, limit=limit)
    assert [stop - start for start, stop in calls] == [8, 4, 2, 2, 2, 2]
    calls.clear()
    assert sum(in_batches(needing(3, calls), 5, 4, limit=limit), []) == list(range(5))
    assert calls == [(0, 2), (2, 4), (4, 5)]


def test_a_limit_stays_open_while_memory_suffices():
    limit = BatchLimit()
    in_batches(needing(100, []), 8, 2, limit=limit)
    assert limit.size is None


def test_one_item_that_does_not_fit_is_an_error():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        in_batches(needing(0, []), 4)


def test_other_errors_pass():
    def broken(start, stop):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        in_batches(broken, 4)


# More bytes than any machine has addresses for: torch and numpy refuse them at once.
IMPOSSIBLE = 1 << 56


@pytest.mark.parametrize("make", [torch.empty, np.empty])
def test_memory_of_the_machine_runs_out(make):
    """Real errors of the allocators: neither is of CUDA's class."""
    calls = []

    def function(start, stop):
        calls.append((start, stop))
        if stop - start > 1:
            make((stop - start) * IMPOSSIBLE // 8)
        return [start]

    assert sum(in_batches(function, 2), []) == [0, 1]
    assert calls == [(0, 2), (0, 1), (1, 2)]
    with pytest.raises((RuntimeError, MemoryError)):
        in_batches(lambda start, stop: make(IMPOSSIBLE // 8), 1)


def test_refuses_a_batch_of_nothing():
    with pytest.raises(ValueError, match="batch_size"):
        in_batches(needing(1, []), 4, 0)


def test_nothing_of_the_failed_call_stays_alive():
    import weakref

    held = []

    def function(start, stop):
        big = torch.zeros(stop - start)
        held.append(weakref.ref(big))
        if len(held) == 2:
            assert held[0]() is None, "the failed call's tensor is still there"
        if stop - start > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return start

    assert in_batches(function, 4) == [0, 2]


@pytest.mark.gpu
def test_real_memory_runs_out():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    total = torch.cuda.get_device_properties(0).total_memory
    item = int(total * 0.4)

    def function(start, stop):
        return torch.empty((stop - start) * item, dtype=torch.uint8, device="cuda").numel()

    results = in_batches(function, 4)
    assert sum(results) == 4 * item and len(results) > 1
