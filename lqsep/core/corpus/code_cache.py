"""Codes of a data set on disk: encoded once, memory-mapped by every run that can use them.

A folder holds ``codes.npy``, all sequences one after the other, and ``index.json`` with their
lengths and with what the codes depend on. It appears whole or not at all, and is made anew when
anything they depend on has changed. Until it is whole, what has been encoded is kept in a folder
``<name>.part``, a file per sequence, from where an interrupted encoding goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from lqsep.core.errors import AudioError, CheckpointError
from lqsep.core.files.new_directory import new_directory
from lqsep.core.files.new_file import new_file
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.training import processes

_VERSION = 1
_CODES, _INDEX, _KEY = "codes.npy", "index.json", "key.json"

# Samples that are compared at the beginning, the middle and the end of every track.
_EXCERPT = 4096


def cached_codes(
    folder: Path,
    depends_on: Mapping[str, str],
    encode: Callable[[int], Iterable[Int64[Tensor, " _frames"]]],
) -> list[Int32[Tensor, " _frames"]]:
    """The sequences in ``folder``, encoded first where they are missing or stale.

    Collective, see `lqsep.core.training.processes`: the first process encodes, all of them read.

    Args:
        folder: Of this cache alone; replaced when stale.
        depends_on: Everything that decides what ``encode`` gives, by name.
        encode: Gives the sequences, but for the first few: so many have been encoded before.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    key = {"version": str(_VERSION), **depends_on}
    if processes.is_main() and _read(folder, key) is None:
        sequences = _encoded(folder, key, encode)
        with _writing(folder):
            _write(folder, key, sequences)
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
        digest.update(f"|{dataset.name(index)}".encode(errors="surrogateescape"))
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
    index = _json(folder / _INDEX)
    try:
        if index["key"] != key:
            return None
        # Copied on write, as torch wants arrays that it may write to; nothing does.
        codes = np.load(folder / _CODES, mmap_mode="c")
        if len(codes) != sum(index["lengths"]):
            return None
        return list(torch.split(torch.from_numpy(codes), index["lengths"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """While files are written; what encoding reads is none of its business."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"cannot write the codes to {folder}: {error.strerror or error}. Make room, or "
            'keep them in memory: train.prior.codes="memory"'
        ) from error


def _encoded(
    folder: Path,
    key: Mapping[str, str],
    encode: Callable[[int], Iterable[Tensor]],
) -> list[npt.NDArray[np.int32]]:
    """All sequences; those in the folder's ``.part`` are not encoded again, new ones go there."""
    part = _part(folder)
    found: list[npt.NDArray[np.int32]] = []
    with _writing(folder):
        if _json(part / _KEY) != key and part.exists():
            shutil.rmtree(part)
        while (codes := _array(part / f"{len(found)}.npy")) is not None:
            found.append(codes)
        if not found:
            with new_file(part / _KEY) as path:
                path.write_text(json.dumps(key), encoding="utf-8")
    for sequence in encode(len(found)):
        codes = sequence.to(torch.int32).numpy()
        with _writing(folder):
            with new_file(part / f"{len(found)}.npy") as path, path.open("wb") as file:
                np.save(file, codes)
        found.append(codes)
    return found


def _write(
    folder: Path, key: Mapping[str, str], sequences: Sequence[npt.NDArray[np.int32]]
) -> None:
    """The folder, in place of an older one and of what it was made from."""
    index = {"key": dict(key), "lengths": [len(sequence) for sequence in sequences]}
    if folder.exists():
        shutil.rmtree(folder)
    with new_directory(folder) as made:
        np.save(made / _CODES, np.concatenate([np.zeros(0, np.int32), *sequences]))
        (made / _INDEX).write_text(json.dumps(index), encoding="utf-8")
    shutil.rmtree(_part(folder))


def _part(folder: Path) -> Path:
    """Where sequences are until all are there."""
    return folder.with_name(f"{folder.name}.part")


def _json(path: Path) -> Any:
    """What a JSON file holds; None where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _array(path: Path) -> npt.NDArray[np.int32] | None:
    """The array in a file; None where there is none that can be read."""
    try:
        found: npt.NDArray[np.int32] = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return found
