"""How often each n-gram of codes occurs, stored sparsely.

An n-gram ``(c_1, ..., c_n)`` is kept as the number ``c_1 K^(n-1) + ... + c_n``, K being the
codebook size. Numbers are sorted, so that all continuations of a context lie side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor


class NgramCounts:
    """Counts of all n-grams of one length.

    Args:
        ngrams: Distinct n-grams, in any order.
        counts: How often each occurs, > 0.
        codebook_size: Number of codes; its ``n``-th power must fit 63 bits.
        device: Where the tables live.
    """

    def __init__(
        self,
        ngrams: Int64[Tensor, "entries n"],
        counts: Int64[Tensor, " entries"],
        codebook_size: int,
        device: torch.device | None = None,
    ) -> None:
        self.codebook_size = codebook_size
        self._keys, order = _keys(ngrams.to(device), codebook_size).sort()
        self._counts = counts.to(device)[order].double()
        contexts, self.codes = self._keys // codebook_size, self._keys % codebook_size
        self._contexts, lengths = torch.unique_consecutive(contexts, return_counts=True)
        self._lengths = lengths
        self._first = lengths.cumsum(0) - lengths
        index = torch.arange(len(lengths), device=device).repeat_interleave(lengths)
        totals = torch.zeros(len(lengths), dtype=torch.float64, device=device)
        self._totals = totals.index_add_(0, index, self._counts)

    def count(self, ngrams: Int64[Tensor, "rows n"]) -> Float64[Tensor, " rows"]:
        """How often each n-gram occurs."""
        return _lookup(self._keys, self._counts, _keys(ngrams, self.codebook_size))

    def total(self, contexts: Int64[Tensor, "rows shorter"]) -> Float64[Tensor, " rows"]:
        """How often each context, an n-gram but for its last code, is continued."""
        return _lookup(self._contexts, self._totals, _keys(contexts, self.codebook_size))

    def continuations(
        self, contexts: Int64[Tensor, "rows shorter"]
    ) -> tuple[Int64[Tensor, " found"], Int64[Tensor, " found"], Float64[Tensor, " found"]]:
        """Every code seen after the contexts: row of the context, code, count."""
        index, found = _find(self._contexts, _keys(contexts, self.codebook_size))
        rows = found.nonzero()[:, 0]
        index = index[rows]
        lengths = self._lengths[index]
        # Entries of a context are consecutive: its first one, and an offset within.
        ends = lengths.cumsum(0)
        offset = torch.arange(int(lengths.sum()), device=ends.device)
        offset = offset - (ends - lengths).repeat_interleave(lengths)
        entry = self._first[index].repeat_interleave(lengths) + offset
        return rows.repeat_interleave(lengths), self.codes[entry], self._counts[entry]


def count_ngrams(
    sequences: Sequence[Int64[Tensor, " _frames"]], n: int, codebook_size: int
) -> tuple[Int64[Tensor, "entries n"], Int64[Tensor, " entries"]]:
    """Distinct n-grams of the sequences, sorted, and their counts; none spans two sequences."""
    keys = [
        _keys(sequence.unfold(0, n, 1), codebook_size)
        for sequence in sequences
        if len(sequence) >= n
    ]
    if not keys:
        return torch.zeros((0, n), dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    distinct, counts = torch.unique(torch.cat(keys), return_counts=True)
    powers = codebook_size ** torch.arange(n - 1, -1, -1)
    return distinct[:, None] // powers % codebook_size, counts


def _keys(ngrams: Tensor, codebook_size: int) -> Tensor:
    keys = torch.zeros(ngrams.shape[0], dtype=torch.int64, device=ngrams.device)
    for codes in ngrams.long().unbind(1):
        keys = keys * codebook_size + codes
    return keys


def _find(table: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Where the keys are in a sorted table, and whether they are."""
    if len(table) == 0:
        return torch.zeros_like(keys), torch.zeros_like(keys, dtype=torch.bool)
    index = torch.searchsorted(table, keys).clamp(max=len(table) - 1)
    return index, table[index] == keys


def _lookup(table: Tensor, values: Tensor, keys: Tensor) -> Tensor:
    index, found = _find(table, keys)
    result = torch.zeros(keys.shape, dtype=values.dtype, device=keys.device)
    result[found] = values[index[found]]
    return result
