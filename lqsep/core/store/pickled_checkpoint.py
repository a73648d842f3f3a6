"""Checkpoints that other systems write with `torch.save`, read without running anything in them.

A pickle is a program. torch's weights-only loader runs the few calls that put tensors and plain
Python values together and refuses all others. Numpy scalars, which training scripts leave among
their settings, become Python numbers here through stand-ins, so that not even numpy's own code
runs on what a file says.
"""

from __future__ import annotations

import os
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lqsep.core.errors import CheckpointError
from lqsep.core.files.new_file import new_file, system_words

# Written before the names by torch's wrapper for training on several devices.
_WRAPPER = "module."

# Letters of the `struct` module for numpy's one-dimensional types of numbers.
_NUMBERS = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip

# What torch says in a page of advice: the call it refused.
_FOREIGN_CALL = re.compile(r"GLOBAL ([\w.]+)")


@dataclass(frozen=True)
class PickledCheckpoint:
    """Weights with the settings they were trained by.

    Args:
        path: The file, for messages.
        hps: Settings ("hyperparameters") as plain values.
        tensors: Float32, on the CPU; half precision is brought to float32 exactly.
        step: Number of training steps; None where the file does not say.
    """

    path: Path
    hps: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    step: int | None


def read_checkpoint(path: str | Path) -> PickledCheckpoint:
    """Read a checkpoint ``{"model": tensors, "hps": settings, "step": number}``.

    A leading ``module.`` of names is dropped; the state of an optimiser is not kept.

    Raises:
        CheckpointError: Missing, damaged, unsafe, or something else than such a checkpoint.
    """
    path = Path(path)
    content = read_pickle(path)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise CheckpointError(
            f"{path} is not a checkpoint: expected a dictionary with the weights under 'model', "
            f"got {_describe(content)}"
        )
    hps = content.get("hps") or {}
    if not isinstance(hps, dict) or not _is_plain(hps):
        raise CheckpointError(
            f"{path}: expected numbers, strings and lists of them by name under 'hps', got "
            f"{_describe(hps)}"
        )
    step = content.get("step")
    return PickledCheckpoint(
        path, hps, _weights(content["model"], path), step if type(step) is int else None
    )


def read_pickle(path: str | Path) -> Any:
    """Whatever a file of `torch.save` holds, on the CPU: tensors and plain values only.

    Raises:
        CheckpointError: Missing, damaged, or it asks for calls that weights do not need.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"no checkpoint at {path}; check the path")
    try:
        file = open(path, "rb")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        with file, torch.serialization.safe_globals(_STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _check_archive(path)
            return torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    # A damaged pickle may fail in any way: with lookups, types, sizes, memory.
    except Exception as error:
        call = _FOREIGN_CALL.search(str(error))
        if call is not None:
            raise CheckpointError(
                f"{path} is refused, and nothing in it was run: it calls '{call[1]}', which no "
                "weights need; get the checkpoint from someone you trust"
            ) from error
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({_reason(error)}); expected a file "
            "written by torch.save, whole and of weights only"
        ) from error


def write_pickle(path: str | Path, content: Any) -> None:
    """Write a file that `read_pickle` and torch's weights-only loader read, whole or not at all.

    Raises:
        CheckpointError: The file cannot be written; what was there before stays.
    """
    try:
        with new_file(path) as part, open(part, "wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"cannot write {path}: {system_words(error)}") from error


def _weights(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    weights = {}
    for name, tensor in state.items():
        fault = _fault(tensor) if isinstance(name, str) else "not named by a string"
        if fault is not None:
            raise CheckpointError(
                f"{path}: {str(name)!r} is {fault}; expected finite weights in half precision or "
                "float32"
            )
        weights[name.removeprefix(_WRAPPER)] = tensor.detach().float()
    if len(weights) != len(state):
        raise CheckpointError(f"{path}: some weights are there with and without '{_WRAPPER}'")
    return weights


def _fault(tensor: Any) -> str | None:
    """What keeps a value from being weights, in words."""
    if not isinstance(tensor, Tensor):
        return _describe(tensor)
    if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"a tensor of {tensor.dtype}"
    if tensor.layout is not torch.strided or tensor.is_meta:
        return "a tensor without values"
    # A view may claim far more values than there are in the file.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "larger than what is stored of it"
    if not bool(tensor.isfinite().all()):
        return "not finite"
    return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, dict):
        names = ", ".join(repr(key) for key in list(value)[:4])
        return f"a dictionary with {names or 'nothing'}"
    return f"a {type(value).__name__}"


def _check_archive(path: str | Path) -> None:
    """Refuse an archive with a record that is not what its checksum was made of.

    torch does not look at the checksums of the records it reads. Files in its older format, which
    are no archives, have none.

    Raises:
        CheckpointError: Names the record.
    """
    damaged: str | None
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            # torch writes zeros when it is told to compute none.
            has_sums = any(record.CRC for record in archive.infolist())
            damaged = archive.testzip() if has_sums else None
    # As for pickles: encryption, unknown methods, offsets beyond the file.
    except Exception as error:
        raise CheckpointError(
            f"{path} is damaged: its list of records cannot be followed; get it again"
        ) from error
    if damaged is not None:
        raise CheckpointError(
            f"{path} is damaged: the record '{damaged}' does not fit its checksum; get it again"
        )


def _reason(error: Exception) -> str:
    """In words; what Python says of a pickle that makes no sense is a number, an index, a key."""
    lines = str(error).strip().splitlines() if isinstance(error, RuntimeError | OSError) else []
    return lines[0].split(". ")[0] if lines else "what it says makes no sense"


class _NumpyType:
    """Stands in for ``numpy.dtype``: the name of a type of numbers, and its byte order."""

    def __init__(self, name: str, *flags: object) -> None:
        self.name = name
        self.byte_order = "<"

    def __setstate__(self, state: tuple[object, ...]) -> None:
        # (version, byte order, ...); '|' is of single bytes, which have none.
        self.byte_order = ">" if state[1] == ">" else "<"


def _number(kind: _NumpyType, data: bytes) -> bool | int | float:
    """Stands in for what makes a numpy scalar of its bytes."""
    if not isinstance(kind, _NumpyType) or kind.name not in _NUMBERS:
        raise ValueError(f"a numpy value of type {getattr(kind, 'name', kind)!r} is no number")
    (number,) = struct.unpack(kind.byte_order + _NUMBERS[kind.name], data)
    assert isinstance(number, bool | int | float)
    return number


# numpy 2 renamed the module that holds the function; files of both are about.
_STAND_INS: list[Any] = [
    (_NumpyType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
]
