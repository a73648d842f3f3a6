"""Work in batches that fit: halve the batch when the device runs out of memory, and go on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from lqsep.core.errors import is_out_of_memory

logger = logging.getLogger("lqsep")

Result = TypeVar("Result")


@dataclass
class BatchLimit:
    """What several calls of `in_batches` on the same work know of how much fits at once.

    Attributes:
        size: The largest batch to try; None while memory has not run out.
    """

    size: int | None = None


def in_batches(
    function: Callable[[int, int], Result],
    n: int,
    batch_size: int | None = None,
    *,
    limit: BatchLimit | None = None,
) -> list[Result]:
    """Call ``function(start, stop)`` on consecutive ranges that cover ``0 .. n``.

    When a call runs out of memory its range is tried again in batches half as large; the
    smaller size is kept for the rest. So ``function`` must be repeatable.

    Args:
        function: Works on items ``start`` to ``stop`` (exclusive).
        n: Number of items; 0 makes no call.
        batch_size: Items per call to begin with; None tries all at once.
        limit: Bounds the batches, and is lowered when memory runs out, so that the next call with
            the same limit does not run out again.

    Returns:
        The results in order.

    Raises:
        ValueError: ``batch_size`` is below 1.
        Exception: A single item does not fit: what torch or numpy said, see `is_out_of_memory`.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    limit = limit or BatchLimit()
    size = min(n if batch_size is None else batch_size, n if limit.size is None else limit.size)
    results: list[Result] = []
    start = 0
    while start < n:
        stop = min(start + size, n)
        try:
            results.append(function(start, stop))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or stop - start == 1:
                raise
            limit.size = size = (stop - start + 1) // 2
        else:
            start = stop
            continue
        # Outside the handler: its traceback kept the failed call's tensors alive.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        logger.warning("out of device memory with %d at once, going on with %d", stop - start, size)
    return results
