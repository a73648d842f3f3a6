"""The table of code sums: for every pair of codes, the code of their weighted sum.

``S[i, j] = argmin_k |gain_0 e_i + gain_1 e_j - e_k|^2`` for a codebook of K vectors e of size D.
With the Gram matrix ``G = e e^T`` and ``h_k = |e_k|^2 / 2``, half that squared distance is, up to
what does not depend on k,

    score_k(i, j) = (h_k - gain_0 G_ik) - gain_1 G_jk

so D leaves the inner loop: K^3 subtractions and comparisons instead of 2 K^3 D operations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import CheckpointError, ShapeError
from lqsep.core.store.weights import load_weights, save_weights

# torch finds a minimum much faster than its place, so the minimum of each group of codes is taken
# first, then the place of the best group and the place inside it.
_GROUP = 64

# Scores held at a time: on a CPU they should stay in its second-level cache (512 KiB here), a GPU
# wants few large calls.
_SCORES_CPU = 1 << 17
_SCORES_GPU = 1 << 27

# Rows of the Gram matrix computed at a time in float64.
_GRAM_ROWS = 1024

OnBlock = Callable[[int, int], None]
"""Called as ``on_block(pairs_done, pairs_total)``."""


@dataclass(frozen=True)
class SumTable:
    """A stored table: ``table[i, j]`` is the code of ``gains[0] e_i + gains[1] e_j``."""

    table: Int32[Tensor, "codebook_size codebook_size"]
    gains: tuple[float, ...]
    codec_fingerprint: str


def tie_tolerance(
    codebook: Float[Tensor, "codebook_size embedding_dim"], gains: Sequence[float]
) -> float:
    """Scores (halves of squared distances) that differ by less cannot be told apart in float32.

    A score is rounded three times, on numbers of at most ``(1/2 + |gain_0| + |gain_1|) max |e|^2``;
    the tolerance is the sum of two scores' largest errors.
    """
    largest = float(codebook.double().square().sum(1).max())
    reach = 0.5 + abs(gains[0]) + abs(gains[1])
    return 2 * torch.finfo(torch.float32).eps * reach * largest


@torch.no_grad()
def build_sum_table(
    codebook: Float[Tensor, "codebook_size embedding_dim"],
    gains: Sequence[float],
    *,
    on_block: OnBlock | None = None,
) -> Int32[Tensor, "codebook_size codebook_size"]:
    """The code of every pair's weighted sum, on the codebook's device.

    Ties: where a pair's own two codes are both as near as any other (within `tie_tolerance`), the
    lower of the two is taken. With gains of one half this is no rare case: the sum is then exactly
    as far from ``e_i`` as from ``e_j``, and for most pairs of a codebook that is not closed under
    addition no third code is nearer. Without the rule rounding would decide, differently on
    each device. Any other tie goes to the lower code, as far as float32 shows it.

    Args:
        codebook: The vectors.
        gains: Weight of the row's code and of the column's.
        on_block: Progress callback.

    Raises:
        ShapeError: The codebook is not a non-empty matrix.
        IncompatibleComponentsError: There are not two gains.
    """
    if codebook.ndim != 2 or not codebook.numel():
        raise ShapeError(
            f"building the table of sums: expected a codebook [codes, dimensions], got shape "
            f"{tuple(codebook.shape)}"
        )
    check_two_sources(gains, "the table of code sums")
    size = len(codebook)
    symmetric = gains[0] == gains[1]
    rows, columns = _score_parts(codebook, gains)
    own_row = rows.diagonal()
    tolerance = tie_tolerance(codebook, gains)
    table = torch.empty(size, size, dtype=torch.int32, device=codebook.device)
    blocks = list(_blocks(size, symmetric, codebook.is_cuda))
    total, done = sum(height * (stop - start) for start, stop, height in blocks), 0
    for start, stop, height in blocks:
        best, codes = _nearest(rows[:height], columns[start:stop])
        # Scores of the pair's own codes: k = i, then k = j.
        first = own_row[:height, None] - columns[start:stop, :height].T
        second = rows[:height, start:stop] - columns[start:stop, start:stop].diagonal()
        tied = torch.maximum(first, second) <= best + tolerance
        i = torch.arange(height, device=codes.device)[:, None]
        j = torch.arange(start, stop, device=codes.device)
        table[:height, start:stop] = torch.where(tied, torch.minimum(i, j), codes)
        done += height * (stop - start)
        if on_block is not None:
            on_block(done, total)
    if symmetric:
        table.triu_()
        table += table.triu(1).T
    return table


def _score_parts(
    codebook: Tensor, gains: Sequence[float]
) -> tuple[Float32[Tensor, "codebook_size padded"], Float32[Tensor, "codebook_size padded"]]:
    """Row part ``h_k - gain_0 G_ik`` and column part ``gain_1 G_jk`` of the scores.

    Computed in float64 and rounded once. Codes are padded to whole groups with infinite scores.
    """
    vectors = codebook.double()
    halves = vectors.square().sum(1) / 2
    size = len(vectors)
    padded = -(-size // _GROUP) * _GROUP
    rows = torch.full((size, padded), torch.inf, dtype=torch.float32, device=codebook.device)
    columns = torch.zeros(size, padded, dtype=torch.float32, device=codebook.device)
    for start in range(0, size, _GRAM_ROWS):
        part = slice(start, start + _GRAM_ROWS)
        gram = vectors[part] @ vectors.T
        rows[part, :size] = (halves - gains[0] * gram).float()
        columns[part, :size] = (gains[1] * gram).float()
    return rows, columns


def _blocks(size: int, symmetric: bool, on_gpu: bool) -> Iterator[tuple[int, int, int]]:
    """Columns ``start`` to ``stop`` and how many rows of them are needed."""
    width = 256 if on_gpu else max(1, min(_GROUP, _SCORES_CPU // size))
    for start in range(0, size, width):
        stop = min(start + width, size)
        yield start, stop, stop if symmetric else size


def _nearest(
    rows: Float32[Tensor, "rows padded"], columns: Float32[Tensor, "columns padded"]
) -> tuple[Float32[Tensor, "rows columns"], Int32[Tensor, "rows columns"]]:
    """Lowest score and its code for every pair; the lower code where scores are equal."""
    n_rows, padded = rows.shape
    n_columns = len(columns)
    best = rows.new_empty(n_rows, n_columns)
    codes = torch.empty(n_rows, n_columns, dtype=torch.int32, device=rows.device)
    step = max(1, (_SCORES_GPU if rows.is_cuda else _SCORES_CPU) // (n_columns * padded))
    pair = torch.arange(min(step, n_rows) * n_columns, device=rows.device)
    scores = rows.new_empty(min(step, n_rows), n_columns, padded)
    for start in range(0, n_rows, step):
        part = rows[start : start + step, None]
        n_pairs = len(part) * n_columns
        buffer = scores[: len(part)]
        torch.sub(part, columns, out=buffer)
        groups = buffer.view(n_pairs, -1, _GROUP)
        lowest, group = groups.amin(2).min(1)
        inside = groups[pair[:n_pairs], group].argmin(1)
        best[start : start + step] = lowest.view(-1, n_columns)
        codes[start : start + step] = (group * _GROUP + inside).view(-1, n_columns)
    return best, codes


def save_table(
    path: str | Path,
    table: Int32[Tensor, "codebook_size codebook_size"],
    gains: Sequence[float],
    codec_fingerprint: str,
) -> str:
    """Write a table with its gains and the codec it belongs to.

    Returns:
        sha256 of the file.

    Raises:
        CheckpointError: The file cannot be written.
    """
    # Half the size of int32; a table for 65,536 codes would take 8 GiB as it is.
    assert len(table) <= 1 << 16
    metadata = {"gains": json.dumps(list(gains)), "codec_fingerprint": codec_fingerprint}
    return save_weights(path, {"table": table.to(torch.uint16)}, metadata)


def load_table(path: str | Path, *, sha256: str | None = None) -> SumTable:
    """Read a table onto the CPU.

    Raises:
        CheckpointError: Missing, damaged, not the file that ``sha256`` expects, or no table.
    """
    weights = load_weights(path, sha256=sha256)
    table = weights.tensors.get("table")
    try:
        first, second = (float(gain) for gain in json.loads(weights.metadata["gains"]))
        fingerprint = weights.metadata["codec_fingerprint"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(_not_a_table(path, "its gains or its codec are missing")) from error
    if table is None or table.ndim != 2 or table.shape[0] != table.shape[1] or not len(table):
        raise CheckpointError(_not_a_table(path, "it holds no square matrix named 'table'"))
    if table.is_floating_point():
        raise CheckpointError(_not_a_table(path, "its entries are no integers"))
    table = table.to(torch.int32)
    if int(table.min()) < 0 or int(table.max()) >= len(table):
        raise CheckpointError(_not_a_table(path, f"its entries are not codes below {len(table)}"))
    return SumTable(table, (first, second), fingerprint)


def _not_a_table(path: str | Path, why: str) -> str:
    return f"{path} is not a table of code sums: {why}; make it again with `lqsep sums`"
