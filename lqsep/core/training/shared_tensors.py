"""Waves or codes that the processes of a machine hold together, once: in a file all of them map."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import torch
from jaxtyping import Shaped
from torch import Tensor

from lqsep.core.errors import AudioError
from lqsep.core.training import processes


def held_once(
    tensors: Iterable[Shaped[Tensor, " _length"]],
) -> list[Shaped[Tensor, " _length"]]:
    """The tensors, made by one process of every machine; collective, see `processes`.

    A single process has them in memory. Several have them in a file of the temporary folder, whose
    name is removed as soon as all of them map it: it goes with the last process.

    Args:
        tensors: Of one type, such as waves or codes; taken one at a time, by the first process of
            each machine.

    Raises:
        AudioError: The file cannot be written.
    """
    if processes.count() == 1:
        return list(tensors)
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    written = processes.gather(_write(tensors) if local_rank == 0 else None)
    path, lengths, dtype = written[processes.rank() - local_rank]
    try:
        size = sum(lengths)
        # Pages are copied when they are written to; nothing does. An empty file cannot be mapped.
        whole = torch.zeros(0, dtype=dtype)
        if size:
            whole = torch.from_file(str(path), size=size, dtype=dtype)
        processes.wait()
    finally:
        if local_rank == 0:
            path.unlink(missing_ok=True)
    return list(torch.split(whole, lengths))


def _write(tensors: Iterable[Tensor]) -> tuple[Path, list[int], torch.dtype]:
    """A new file of all values, the lengths and the type; no file after an error."""
    lengths, dtype = [], torch.float32
    handle, name = tempfile.mkstemp(prefix="lqsep-", suffix=".data")
    try:
        with open(handle, "wb") as file:
            for tensor in tensors:  # reading them may fail by itself
                _append(file, name, tensor)
                lengths.append(len(tensor))
                dtype = tensor.dtype
    except BaseException:
        os.unlink(name)
        raise
    return Path(name), lengths, dtype


def _append(file: BinaryIO, name: str, tensor: Tensor) -> None:
    try:
        file.write(tensor.contiguous().numpy().tobytes())
        file.flush()
    except OSError as error:
        raise AudioError(
            f"cannot write the data for all processes to {name}: {error.strerror or error}. Name "
            "a folder with more room in the variable TMPDIR"
        ) from error
