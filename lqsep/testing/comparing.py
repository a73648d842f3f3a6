"""Comparisons that the contracts share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# What float32 arithmetic summed in another order may differ by.
TOLERANCE = 1e-4


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Equal up to rounding, relative to the size of the values."""
    torch.testing.assert_close(
        found.detach(), expected.detach(), atol=TOLERANCE, rtol=TOLERANCE, check_dtype=False
    )


def assert_raises(error: type[Exception], call: Callable[[], object]) -> None:
    """``call()`` raises ``error``."""
    try:
        call()
    except error:
        return
    raise AssertionError(f"expected a {error.__name__}")
