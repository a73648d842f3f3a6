"""Lengths for which Fourier transforms are fast."""

from __future__ import annotations

import math
from collections.abc import Sequence


def fast_length(least: float, *, grid: int = 1, primes: Sequence[int] = (2, 3, 5)) -> int:
    """The shortest length from ``least`` on that is ``grid`` times a product of the primes."""
    steps = max(1, math.ceil(least / grid))
    while True:
        rest = steps
        for prime in primes:
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return grid * steps
        steps += 1
