"""Waves that the processes of a machine hold together, once: in a file that all of them map."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor

from lqsep.core import processes
from lqsep.core.errors import AudioError


def held_once(
    waves: Iterable[Float32[Tensor, " _samples"]],
) -> list[Float32[Tensor, " _samples"]]:
    """The waves, made by one process of every machine; collective, see `lqsep.core.processes`.

    A single process has them in memory. Several have them in a file of the temporary folder, whose
    name is removed as soon as all of them map it: it goes with the last process.

    Args:
        waves: Taken one at a time, by the first process of each machine.

    Raises:
        AudioError: The file cannot be written.
    """
    if processes.count() == 1:
        return list(waves)
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    written = processes.gather(_write(waves) if local_rank == 0 else None)
    path, lengths = written[processes.rank() - local_rank]
    try:
        size = sum(lengths)
        # Pages are copied when they are written to; nothing does. An empty file cannot be mapped.
        whole = torch.from_file(str(path), size=size) if size else torch.zeros(0)
        processes.wait()
    finally:
        if local_rank == 0:
            path.unlink(missing_ok=True)
    return list(torch.split(whole, lengths))


def _write(waves: Iterable[Tensor]) -> tuple[Path, list[int]]:
    """A new file of all samples, and the lengths; no file after an error."""
    lengths = []
    handle, name = tempfile.mkstemp(prefix="lqsep-", suffix=".audio")
    try:
        with open(handle, "wb") as file:
            for wave in waves:
                file.write(wave.contiguous().numpy().tobytes())
                lengths.append(len(wave))
    except OSError as error:
        os.unlink(name)
        raise AudioError(
            f"cannot write the audio for all processes to {name}: {error.strerror or error}. Name "
            "a folder with more room in the variable TMPDIR"
        ) from error
    except BaseException:
        os.unlink(name)
        raise
    return Path(name), lengths
