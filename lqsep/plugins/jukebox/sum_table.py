"""Tables of code sums: the reference's files, and ``sums.safetensors`` of a model.

The reference stores one row of ``K x K`` codes; the model's file holds a matrix ``table`` of
unsigned 16-bit codes, and in its metadata the ``gains`` it is for and the ``codec_fingerprint``.

A reference's table is checked by distances, not by codes: with gains of one half most sums lie
exactly between their two codes, and rounding decided which of them the reference took. Any code
that is as near as the nearest, as far as float32 can tell, is right.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from lqsep.core.errors import CheckpointError
from lqsep.core.store.pickled_checkpoint import read_pickle
from lqsep.core.store.weights import check_codec_fingerprint, load_weights, save_weights

# Where a model's likelihood looks for the table.
SUMS_FILE = "sums.safetensors"

# Pairs whose distances are computed at a time.
_PAIRS = 1 << 18


def read_reference_table(
    path: str | Path, codebook_size: int
) -> Int32[Tensor, "codebook_size codebook_size"]:
    """A table from a file of the reference.

    Raises:
        CheckpointError: Missing, damaged, unsafe, or no table for so many codes.
    """
    table = read_pickle(path)
    if not isinstance(table, Tensor) or table.dtype not in (torch.int64, torch.int32):
        raise CheckpointError(f"{path} is no table of code sums: expected a tensor of integers")
    if table.numel() != codebook_size**2 or table.untyped_storage().nbytes() < table.nbytes:
        raise CheckpointError(
            f"{path} is no table of the sums of {codebook_size} codes: expected "
            f"{codebook_size**2} values, got shape {tuple(table.shape)}; give the codec's own"
        )
    low, high = (int(value) for value in table.aminmax())
    if low < 0 or high >= codebook_size:
        raise CheckpointError(
            f"{path}: expected codes from 0 to {codebook_size - 1}, found {low} to {high}"
        )
    return table.reshape(codebook_size, codebook_size).to(torch.int32)


def reference_table(
    table: Int32[Tensor, "codebook_size codebook_size"],
) -> Int64[Tensor, "1 pairs"]:
    """A table in the reference's form."""
    return table.reshape(1, -1).to(torch.int64)


def save_model_table(
    path: str | Path,
    table: Int32[Tensor, "codebook_size codebook_size"],
    gains: Sequence[float],
    codec_fingerprint: str,
) -> None:
    """Write a model's table.

    Raises:
        CheckpointError: It cannot be written.
    """
    metadata = {"gains": json.dumps(list(gains)), "codec_fingerprint": codec_fingerprint}
    save_weights(path, {"table": table.to(torch.uint16)}, metadata)


def load_model_table(
    path: str | Path, codec_fingerprint: str, *, sha256: str | None = None
) -> Int32[Tensor, "codebook_size codebook_size"]:
    """Read a model's table.

    Raises:
        CheckpointError: Missing, damaged, not the file that ``sha256`` expects, no table, or one
            of another codec.
    """
    weights = load_weights(path, sha256=sha256)
    table = weights.tensors.get("table")
    if table is None or table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise CheckpointError(
            f"{path} is not a table of code sums: it holds no square matrix named 'table'; make it "
            "again with `lqsep sums`"
        )
    check_codec_fingerprint(path, weights.metadata, codec_fingerprint)
    return table.to(torch.int32)


def wrong_entries(
    table: Int32[Tensor, "codebook_size codebook_size"],
    nearest: Int32[Tensor, "codebook_size codebook_size"],
    codebook: Float[Tensor, "codebook_size embedding_dim"],
    gains: Sequence[float],
) -> int:
    """How many entries are further from their sum than the nearest code is.

    Differences below what float32 can tell do not count.

    Args:
        table: The entries.
        nearest: A nearest code of every sum, ties decided in any way.
        codebook: The vectors.
        gains: Weight of the row's code and of the column's.
    """
    vectors = codebook.double().cpu()
    tolerance = _tolerance(vectors, gains)
    wrong = 0
    rows, columns = (table != nearest).nonzero(as_tuple=True)
    for start in range(0, len(rows), _PAIRS):
        i, j = rows[start : start + _PAIRS], columns[start : start + _PAIRS]
        sums = gains[0] * vectors[i] + gains[1] * vectors[j]
        found = (sums - vectors[table[i, j].long()]).square().sum(1)
        least = (sums - vectors[nearest[i, j].long()]).square().sum(1)
        wrong += int((found > least + tolerance).sum())
    return wrong


def _tolerance(codebook: Tensor, gains: Sequence[float]) -> float:
    """Largest error of two squared distances that the reference compares, both in float32.

    It computes ``|x|^2 - 2 x.e + |e|^2``; a sum of D products is off by about sqrt(D) roundings
    of numbers up to ``(1 + |gain_0| + |gain_1|)^2 max |e|^2``.
    """
    reach = (1 + abs(gains[0]) + abs(gains[1])) ** 2 * float(codebook.square().sum(1).max())
    return float(2 * codebook.shape[1] ** 0.5 * torch.finfo(torch.float32).eps * reach)
