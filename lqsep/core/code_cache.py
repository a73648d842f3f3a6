"""Codes of a data set on disk: encoded once, memory-mapped by every run that can use them.

A folder holds ``codes.npy``, all sequences one after the other, and ``index.json`` with their
lengths and with what the codes depend on. It appears whole or not at all, and is made anew when
anything they depend on has changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from lqsep.core import processes
from lqsep.core.errors import AudioError, CheckpointError
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.new_directory import new_directory

_VERSION = 1
_CODES, _INDEX = "codes.npy", "index.json"

# Samples that are compared at the beginning, the middle and the end of every track.
_EXCERPT = 4096


def cached_codes(
    folder: Path,
    depends_on: Mapping[str, str],
    encode: Callable[[], Sequence[Int64[Tensor, " _frames"]]],
) -> list[Int32[Tensor, " _frames"]]:
    """The sequences in ``folder``, encoded first where they are missing or stale.

    Collective, see `lqsep.core.processes`: the first process encodes, all of them read.

    Args:
        folder: Of this cache alone; replaced when stale.
        depends_on: Everything that decides what ``encode`` gives, by name.
        encode: Gives the sequences.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    key = {"version": str(_VERSION), **depends_on}
    if processes.is_main() and _read(folder, key) is None:
        _write(folder, key, encode())
    processes.wait()
    found = _read(folder, key)
    if found is None:
        raise CheckpointError(
            f"cannot read the codes in {folder}; it has to be in a folder that all machines share"
        )
    return found


def data_hash(dataset: Dataset, source: str) -> str:
    """sha256 over name, rate, length and three excerpts of a source's stem of every track.

    It reads little, and so may miss a change within a file that keeps its length.
    """
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        digest.update(f"|{dataset.name(index)}".encode())
        try:
            info = dataset.info(index)
            digest.update(f"|{info.sample_rate}|{info.n_samples}|".encode())
            last = max(info.n_samples - _EXCERPT, 0)
            for start in (0, last // 2, last) if info.n_samples else ():
                part = dataset.stem(index, source, start, start + _EXCERPT).stems[source]
                digest.update(np.ascontiguousarray(part).tobytes())
        except AudioError:
            digest.update(b"unreadable")
    return digest.hexdigest()


def _read(folder: Path, key: Mapping[str, str]) -> list[Tensor] | None:
    """The sequences, or None where they are not there, damaged, or those of another key."""
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        if index["key"] != key:
            return None
        # Copied on write, as torch wants arrays that it may write to; nothing does.
        codes = np.load(folder / _CODES, mmap_mode="c")
        if len(codes) != sum(index["lengths"]):
            return None
        return list(torch.split(torch.from_numpy(codes), index["lengths"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path, key: Mapping[str, str], sequences: Sequence[Tensor]) -> None:
    codes = torch.cat([torch.zeros(0, dtype=torch.int64), *sequences]).to(torch.int32)
    index = {"key": dict(key), "lengths": [len(sequence) for sequence in sequences]}
    try:
        if folder.exists():
            shutil.rmtree(folder)
        with new_directory(folder) as made:
            np.save(made / _CODES, codes.numpy())
            (made / _INDEX).write_text(json.dumps(index), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"cannot write the codes to {folder}: {error.strerror or error}. Make room, or keep "
            'them in memory: train.prior.codes="memory"'
        ) from error
