"""A likelihood whose value depends on the code of the pair's sum: ``log L[i, j] = l[S[i, j]]``.

A frame then costs K distances instead of K x K, and one gather makes the matrix of likelihoods
that all hypotheses share. The table is int32 and read with `index_select`, several times faster
than indexing with int64; it is read in blocks of rows, so that nothing as large as the table is
ever made beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64, Int32, Int64
from torch import Tensor

from lqsep.core.errors import ShapeError
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.likelihoods.certificate import certified_row_logsum

# Table entries gathered at a time. On a CPU a block that stays in its cache costs nothing and
# bounds the memory; a GPU wants fewer, larger calls.
_BLOCK_CPU = 1 << 20
_BLOCK_GPU = 1 << 26


class SumTableIndex:
    """A table of sums and its inverse, made once and shared by every frame.

    Args:
        table: ``S[i, j]``, the code of the sum of code i of source 0 and code j of source 1.
        n_sums: Number of codes that a sum may have; each entry is below it.

    Raises:
        ShapeError: The table is not a non-empty matrix of int32.
        ValueError: An entry is not a code.
    """

    def __init__(self, table: Int32[Tensor, "K0 K1"], n_sums: int) -> None:
        if table.ndim != 2 or table.dtype != torch.int32 or not table.numel():
            raise ShapeError(
                f"table of sums: expected a non-empty int32 matrix, got {table.dtype} of shape "
                f"{tuple(table.shape)}"
            )
        low, high = (int(value) for value in table.aminmax())
        if low < 0 or high >= n_sums:
            raise ValueError(
                f"table of sums: expected codes from 0 to {n_sums - 1}, found {low} to {high}"
            )
        self.table = table.contiguous()
        self.n_sums = n_sums
        self.counts: Int64[Tensor, " sums"] = torch.bincount(table.flatten(), minlength=n_sums)
        self.reachable: Bool[Tensor, " sums"] = self.counts > 0

    @cached_property
    def _order(self) -> Int32[Tensor, " pairs"]:
        """Pairs ``i * K1 + j``, by the code of their sum."""
        return torch.sort(self.table.flatten(), stable=True).indices.to(torch.int32)

    @cached_property
    def _starts(self) -> Int64[Tensor, " sums"]:
        return self.counts.cumsum(0) - self.counts

    def pairs_of(
        self, codes: Bool[Tensor, " sums"]
    ) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]]:
        """Every pair whose sum is one of ``codes``: ``(i, j, code of the sum)``."""
        chosen = codes.nonzero()[:, 0]
        counts = self.counts[chosen]
        sums = chosen.repeat_interleave(counts)
        # Position inside the concatenated groups, moved to where each group starts.
        shift = self._starts[chosen] - (counts.cumsum(0) - counts)
        positions = torch.arange(len(sums), device=sums.device)
        flat = self._order[positions + shift.repeat_interleave(counts)].long()
        n_columns = self.table.shape[1]
        return flat // n_columns, flat % n_columns, sums

    def blocks(self) -> Iterator[tuple[slice, Int32[Tensor, " entries"]]]:
        """The table in blocks of whole rows: the rows, and their entries flattened."""
        n_rows, n_columns = self.table.shape
        size = _BLOCK_GPU if self.table.is_cuda else _BLOCK_CPU
        step = max(1, size // n_columns)
        flat = self.table.view(-1)
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            yield slice(start, stop), flat[start * n_columns : stop * n_columns]


class SumTableLikelihood(FrameLikelihood):
    """``log L_n[i, j] = log_likelihood[n, S[i, j]]``.

    Args:
        index: The table, shared between frames.
        log_likelihood: Value of every code of the sum, natural log, best given in float64;
            ``sums`` for all hypotheses or ``rows sums`` for one row each. May hold -inf.

    Raises:
        ShapeError: The values do not fit the table.
    """

    def __init__(self, index: SumTableIndex, log_likelihood: Float[Tensor, "*rows sums"]) -> None:
        values = log_likelihood.double()
        if values.ndim == 1:
            values = values[None]
        if values.ndim != 2 or values.shape[1] != index.n_sums or not len(values):
            raise ShapeError(
                f"sum-table likelihood: expected {index.n_sums} values, or rows of them, got "
                f"shape {tuple(log_likelihood.shape)}"
            )
        self._index = index
        self.n_codes = (int(index.table.shape[0]), int(index.table.shape[1]))
        self.n_rows = len(values)
        # Codes that no pair adds up to must not set the scale: they may lie far above the others.
        values = values.masked_fill(~index.reachable, -torch.inf)
        self.upper: Float64[Tensor, " rows"] = values.amax(1)
        offset = torch.where(self.upper.isfinite(), self.upper, 0.0)
        self._relative: Float64[Tensor, "rows sums"] = values - offset[:, None]
        self._offset = offset
        self._row_upper: Tensor | None = None

    def _rows(self, n: Int64[Tensor, " rows"]) -> Int64[Tensor, " rows"]:
        return n if self.n_rows > 1 else torch.zeros_like(n)

    def _lookup(self, n: Tensor, sums: Tensor) -> Tensor:
        """Values of ``sums [R, ...]`` in the likelihood rows ``n [R]``."""
        rows = self._rows(n).view(-1, *[1] * (sums.ndim - 1))
        if self.n_rows > 1:
            sums = sums.long() + rows * self._index.n_sums
        found = self._relative.view(-1).index_select(0, sums.reshape(-1)).view(sums.shape)
        return found + self._offset[rows]

    def rows(
        self, n: Int64[Tensor, " rows"], i: Int64[Tensor, " rows"]
    ) -> Float64[Tensor, "rows K1"]:
        return self._lookup(n, self._index.table.index_select(0, i))

    def at(
        self, n: Int64[Tensor, " rows"], codes: Int64[Tensor, "rows sources"]
    ) -> Float64[Tensor, " rows"]:
        return self._lookup(n, self._index.table[codes[:, 0], codes[:, 1]])

    def row_upper(self) -> Float64[Tensor, "n_rows K0"]:
        if self._row_upper is None:
            result = self._relative.new_empty(self.n_rows, self.n_codes[0])
            for block, sums in self._index.blocks():
                for n, values in enumerate(self._relative):
                    gathered = values.index_select(0, sums).view(-1, self.n_codes[1])
                    result[n, block] = gathered.amax(1)
            self._row_upper = result + self._offset[:, None]
        return self._row_upper

    def row_logsum(
        self, log_p0: Float[Tensor, "hypotheses K0"], log_p1: Float[Tensor, "hypotheses K1"]
    ) -> Float64[Tensor, "hypotheses K0"]:
        return certified_row_logsum(self, self._scaled_sums, log_p0, log_p1)

    def _scaled_sums(self, n: Tensor, weights: Tensor) -> Tensor:
        # The exponential is taken of K values and then gathered, not of K x K gathered ones.
        exponentials = self._relative.exp().to(weights.dtype)
        result = weights.new_empty(len(weights), self.n_codes[0])
        groups = [(slice(None), exponentials[0])]
        if self.n_rows > 1:
            groups = [(slice(m, m + 1), exponentials[row]) for m, row in enumerate(n.tolist())]
        for block, sums in self._index.blocks():
            for hypotheses, values in groups:
                gathered = values.index_select(0, sums).view(-1, self.n_codes[1])
                result[hypotheses, block] = weights[hypotheses] @ gathered.T
        return result

    def _near(self, n: int, tau: float) -> Bool[Tensor, " sums"]:
        values = self._relative[n if self.n_rows > 1 else 0]
        return (values >= -tau) & values.isfinite()

    def pairs(
        self, n: int, tau: float
    ) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"], Float64[Tensor, " pairs"]]:
        row = n if self.n_rows > 1 else 0
        i, j, sums = self._index.pairs_of(self._near(n, tau))
        return i, j, self._relative[row].index_select(0, sums) + self._offset[row]

    def n_pairs(self, n: int, tau: float) -> int:
        return int(self._index.counts[self._near(n, tau)].sum())
