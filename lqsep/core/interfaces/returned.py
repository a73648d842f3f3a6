"""What components give, looked at where it crosses their interface: types and shapes.

Values are looked at where there are few (codes are used as indices, and on a GPU a wrong one ends
the whole process), and where a sum tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from lqsep.core.errors import ComponentError
from lqsep.core.interfaces.calls import called

T = TypeVar("T")


def expect(
    method: Callable[..., object], what: str, found: object, kind: type[float | int], **axes: int
) -> None:
    """See that a component's method gave a tensor as its interface has it.

    Args:
        method: That gave it.
        what: The tensor in words.
        found: The tensor.
        kind: ``float``: of any precision; ``int``: int64.
        axes: Length of every axis, by its name, in order.

    Raises:
        ComponentError: It is none, or not of that type and shape.
    """
    if (
        isinstance(found, Tensor)
        and found.shape == (*axes.values(),)
        and (found.is_floating_point() if kind is float else found.dtype == torch.int64)
    ):
        return
    shape = " x ".join(f"{length} {name}" for name, length in axes.items())
    numbers = "floats" if kind is float else "int64"
    raise wrong(method, f"gave {what} as {_described(found)}; expected {numbers}, {shape}")


def expect_type(method: Callable[..., object], found: T, expected: type) -> T:
    """See that a component's method gave a value of the right class.

    Raises:
        ComponentError: It did not.
    """
    if isinstance(found, expected):
        return found
    raise wrong(method, f"gave {_described(found)}; expected a {expected.__name__}")


def expect_codes(method: Callable[..., object], found: Tensor, size: int) -> None:
    """See that codes, whose type and shape are right, are from 0 to ``size - 1``.

    Raises:
        ComponentError: One is not.
    """
    if not found.numel():
        return
    low, high = torch.stack(found.aminmax()).tolist()
    if low < 0 or high >= size:
        raise wrong(method, f"gave codes from {low} to {high}; expected 0 to {size - 1}")


def expect_finite(method: Callable[..., object], what: str, found: Tensor) -> None:
    """See that a wave holds no NaN and no infinity: one sum, which either would spoil.

    Raises:
        ComponentError: It does.
    """
    if math.isfinite(float(found.sum())) or bool(found.isfinite().all()):
        return
    raise wrong(method, f"gave {what} with values that are NaN or infinite")


def wrong(method: Callable[..., object], found: str) -> ComponentError:
    """The error that a component's method gave what it must not."""
    return ComponentError(f"{called(method)} {found}. This is a fault of the component")


def _described(found: object) -> str:
    if isinstance(found, Tensor):
        kind = str(found.dtype).removeprefix("torch.")
        return f"{kind} of shape {tuple(found.shape)}"
    return f"a {type(found).__name__}"
