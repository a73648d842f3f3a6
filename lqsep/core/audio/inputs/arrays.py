"""Samples handed over in memory: of which type, and what full scale is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lqsep.core.errors import AudioError, ShapeError

# Subtracted and divided by: what soundfile and scipy mean by samples of these types.
_FULL_SCALE = {"int8": (0, 1 << 7), "uint8": (1 << 7, 1 << 7), "int16": (0, 1 << 15)}
_FULL_SCALE["int32"] = (0, 1 << 31)

# Up to here, int32 may as well hold 24 or 16 bits that were not shifted to its upper end.
_SMALL_INT32 = 1 << 23

# Floats beyond this (40 dB above full scale) are another scale than [-1, 1].
_LARGEST_FLOAT = 100.0


def as_wave(values: Any, name: str) -> npt.NDArray[np.float32]:
    """Samples as float32 with full scale 1, ``channels samples``; one axis is one channel.

    Args:
        values: An array, a tensor on any device, or nested sequences of numbers. Integers of 8, 16
            and 32 bits are divided by their type's full scale.
        name: For messages.

    Raises:
        ShapeError: More than two axes, or more channels than samples could mean.
        AudioError: No samples, values that are not finite or no numbers, a tensor that needs a
            gradient, or a type whose full scale is not known.
    """
    array = _as_array(values, name)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2:
        raise ShapeError(f"{name}: expected an array [channels, samples], got shape {array.shape}")
    if array.shape[0] > 16 and array.shape[1] <= 16:
        raise ShapeError(
            f"{name}: expected an array [channels, samples], got shape {array.shape}; "
            "pass its transpose"
        )
    if array.size == 0:
        raise AudioError(f"{name} has no samples; at least one is needed")
    return _scaled(array, name)


def _as_array(values: Any, name: str) -> npt.NDArray[Any]:
    if isinstance(values, Tensor):
        if values.requires_grad:
            raise AudioError(
                f"{name}: the tensor needs a gradient, which separating does not give; pass "
                "tensor.detach()"
            )
        # numpy knows no bfloat16.
        values = values.cpu() if values.dtype != torch.bfloat16 else values.cpu().float()
        return np.asarray(values.numpy())
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise AudioError(f"{name}: expected an array of numbers ({error})") from error
    if array.dtype.kind not in "biuf":
        kind = type(values).__name__ if array.dtype == object else f"an array of {array.dtype}"
        raise AudioError(f"{name}: expected an array of real numbers, got {kind}")
    return array


def _scaled(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    kind = array.dtype.name
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which the next line tells
            wave = array.astype(np.float32, copy=False)
        if not np.isfinite(wave).all():
            raise AudioError(f"{name} holds values that are not finite")
        if (peak := float(np.abs(wave).max())) > _LARGEST_FLOAT:
            raise AudioError(
                f"{name}: floats up to {peak:g}, where 1 is full scale; if they were integers, "
                "divide them by their full scale (32768 for 16 bits)"
            )
        return wave
    if kind not in _FULL_SCALE:
        raise AudioError(
            f"{name}: samples of type {kind} have no known full scale; expected floats within "
            f"[-1, 1] or {', '.join(_FULL_SCALE)}"
        )
    zero, full = _FULL_SCALE[kind]
    largest = int(np.abs(array.astype(np.int64) - zero).max())
    if kind == "int32" and 0 < largest <= _SMALL_INT32:
        raise AudioError(
            f"{name}: samples of type int32 up to {largest} only: 32 bits at a very low level, or "
            "24 or 16 bits? Expected int16, or int32 that fills its range; or pass floats within "
            "[-1, 1]"
        )
    return ((array.astype(np.float64) - zero) / full).astype(np.float32)
