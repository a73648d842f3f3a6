"""Counts as LASS stores them: a three-dimensional array of the ``sparse`` library in an ``.npz``.

The library writes two layouts: coordinates (``coords``), or rows compressed over some of the axes
(``indices``, ``indptr``, ``compressed_axes``). Both are read with numpy alone, and nothing is
unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lqsep.core.errors import CheckpointError
from lqsep.core.store.weights import file_hash
from lqsep.plugins.counts.store import TripleCounts, check_exists, checked, not_counts

Array = npt.NDArray[Any]


def load_lass_counts(
    path: str | Path, *, axes: tuple[int, int, int] = (0, 1, 2), sha256: str | None = None
) -> TripleCounts:
    """Read counts from an ``.npz`` of the ``sparse`` library.

    Args:
        path: The file.
        axes: Axes of the array that hold the codes of source 0, source 1 and the mixture.
        sha256: Expected hash of the file; not checked when None.

    Raises:
        CheckpointError: Missing, damaged, not the file that was expected, or no counts of triples.
    """
    check_exists(path)
    if sha256 is not None and file_hash(path) != sha256:
        raise CheckpointError(
            f"{path} is not the file its model.toml describes: its sha256 differs; restore the file"
        )
    arrays = _read(path)
    shape = _shape(path, arrays)
    try:
        coordinates = _coordinates(arrays, shape)
        data = np.asarray(arrays["data"])
        with np.errstate(invalid="ignore"):  # Not a number is told below.
            counts = data.astype(np.int64)
        whole = data.dtype.kind in "iufb" and np.array_equal(counts, data)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise not_counts(path, f"its arrays do not fit together ({error})") from error
    if not whole or np.asarray(arrays.get("fill_value", 0)).any():
        raise not_counts(path, "its values are not whole numbers over a background of zero")
    if coordinates.ndim != 2 or counts.shape != coordinates.shape[1:]:
        raise not_counts(
            path, f"{counts.size} values do not fit coordinates of shape {coordinates.shape}"
        )
    seen = counts != 0
    return checked(
        path,
        TripleCounts(
            torch.from_numpy(np.ascontiguousarray(coordinates[list(axes)][:, seen].T)),
            torch.from_numpy(counts[seen]),
            shape[0],
            int(counts.sum()),
        ),
    )


def _read(path: str | Path) -> Mapping[str, Array]:
    try:
        # Opened here: numpy leaves a file open that it finds damaged.
        with open(path, "rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            return {} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(
            f"{path} is not a readable .npz of plain arrays ({error}); restore it"
        ) from error


def _shape(path: str | Path, arrays: Mapping[str, Array]) -> tuple[int, int, int]:
    found = arrays.get("shape")
    sizes = [] if found is None else np.asarray(found).tolist()
    if not isinstance(sizes, list) or len(sizes) != 3 or len(set(sizes)) != 1:
        raise not_counts(path, f"expected an array of three equal dimensions, got shape {sizes}")
    if not isinstance(sizes[0], int) or sizes[0] < 1:
        raise not_counts(path, f"its dimensions are {sizes}")
    return sizes[0], sizes[0], sizes[0]


def _coordinates(arrays: Mapping[str, Array], shape: tuple[int, int, int]) -> Array:
    """Index of every value along the three axes, ``3 x values``."""
    if "coords" in arrays:
        coordinates = np.asarray(arrays["coords"])
        if coordinates.dtype.kind not in "iu" or len(coordinates) != 3:
            raise ValueError("coords is not three lists of whole numbers")
        return coordinates.astype(np.int64)
    indices, indptr = np.asarray(arrays["indices"]), np.asarray(arrays["indptr"])
    compressed = [int(axis) for axis in np.asarray(arrays["compressed_axes"]).reshape(-1)]
    rest = [axis for axis in range(3) if axis not in compressed]
    lengths = np.diff(indptr)
    if indptr[0] != 0 or (lengths < 0).any() or indptr[-1] != len(indices):
        raise ValueError("indptr does not cover indices")
    # Rows run over the compressed axes, columns over the others, the last axis fastest.
    rows = np.repeat(np.arange(len(lengths)), lengths)
    coordinates = np.empty((3, len(indices)), np.int64)
    coordinates[compressed] = np.unravel_index(rows, [shape[axis] for axis in compressed])
    coordinates[rest] = np.unravel_index(indices, [shape[axis] for axis in rest])
    return coordinates
