"""Tables of code sums as the reference implementation stores them: one row of ``K x K`` codes.

A table is checked by distances, not by codes: with gains of one half most sums lie exactly between
their two codes, and rounding decided which of them the reference took. Any code that is as near as
the nearest, as far as float32 can tell, is right.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from lqsep.core.errors import CheckpointError
from lqsep.core.store.pickled_checkpoint import read_pickle
from lqsep.plugins.codebook_sum.table import OnBlock, build_sum_table

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


def wrong_entries(
    table: Int32[Tensor, "codebook_size codebook_size"],
    codebook: Float[Tensor, "codebook_size embedding_dim"],
    gains: tuple[float, float],
    *,
    on_block: OnBlock | None = None,
) -> int:
    """How many entries are further from their sum than the nearest code is.

    Differences below what float32 can tell do not count.
    """
    nearest = build_sum_table(codebook, gains, on_block=on_block).cpu()
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


def _tolerance(codebook: Tensor, gains: tuple[float, float]) -> float:
    """Largest error of two squared distances that the reference compares, both in float32.

    It computes ``|x|^2 - 2 x.e + |e|^2``; a sum of D products is off by about sqrt(D) roundings
    of numbers up to ``(1 + |gain_0| + |gain_1|)^2 max |e|^2``.
    """
    reach = (1 + abs(gains[0]) + abs(gains[1])) ** 2 * float(codebook.square().sum(1).max())
    return float(2 * codebook.shape[1] ** 0.5 * torch.finfo(torch.float32).eps * reach)
