"""Keys and values of the frames that generation may still look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.plugins.transformer.patterns import Pattern


class KVCache:
    """Preallocated keys and values of every layer; all rows stand at the same ``position``.

    A layer keeps what its pattern can still see: *row* one grid row, *previous row* two, *column*
    and *dense* everything. Slots are ordered so that what a frame sees is always one contiguous
    slice: columns are stored one after the other.

    Example::

        cache = KVCache(patterns(3, "factored"), rows=2, heads=1, head_dim=8, max_frames=64,
                        block_frames=8, dtype=torch.float32, device=torch.device("cpu"))
        seen = cache.append(0, keys_values)   # keys_values: rows 2 heads head_dim
        ...                                   # likewise every other layer, then
        cache.advance(1)

    Args:
        patterns: One per layer.
        rows: Parallel hypotheses.
        heads: Heads per layer.
        head_dim: Size of a key.
        max_frames: Frames until the cache is full.
        block_frames: Length of a grid row; must divide ``max_frames`` unless all is dense.
        dtype: Of keys and values.
        device: Where they live.
    """

    def __init__(
        self,
        patterns: Sequence[Pattern],
        *,
        rows: int,
        heads: int,
        head_dim: int,
        max_frames: int,
        block_frames: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.patterns = tuple(patterns)
        self.position = 0
        self.max_frames = max_frames
        self._block = block_frames
        slots = {Pattern.ROW: block_frames, Pattern.PREVIOUS_ROW: 2 * block_frames}
        self._data = [
            torch.empty(
                (rows, 2, heads, slots.get(pattern, max_frames), head_dim),
                dtype=dtype,
                device=device,
            )
            for pattern in self.patterns
        ]

    @property
    def rows(self) -> int:
        """Number of parallel hypotheses."""
        return int(self._data[0].shape[0])

    def append(
        self, layer: int, keys_values: Float[Tensor, "rows 2 heads head_dim"]
    ) -> (
        tuple[Float[Tensor, "rows heads seen head_dim"], Float[Tensor, "rows heads seen head_dim"]]
        | None
    ):
        """Store a layer's next frame and give the keys and values it sees; None if there are none.

        Every layer appends once, then `advance` moves on.
        """
        data, pattern = self._data[layer], self.patterns[layer]
        block, column = divmod(self.position, self._block)
        if pattern is Pattern.DENSE:
            write, start, stop = self.position, 0, self.position + 1
        elif pattern is Pattern.ROW:
            write, start, stop = column, 0, column + 1
        elif pattern is Pattern.COLUMN:
            start = column * (self.max_frames // self._block)
            write, stop = start + block, start + block + 1
        else:
            # Two halves take turns: one is being written while the other, the row above, is seen.
            write = block % 2 * self._block + column
            start = (1 - block % 2) * self._block
            stop = start + self._block
        data[:, :, :, write] = keys_values
        if pattern is Pattern.PREVIOUS_ROW and block == 0:
            return None
        seen = data[:, :, :, start:stop]
        return seen[:, 0], seen[:, 1]

    def fill(self, layer: int, keys_values: Float[Tensor, "rows 2 heads frames head_dim"]) -> None:
        """Store a layer's first ``frames`` frames at once; `advance` moves on afterwards."""
        frames = keys_values.shape[3]
        pattern = self.patterns[layer]
        block = frames // self._block
        first = {Pattern.ROW: block, Pattern.PREVIOUS_ROW: max(block - 1, 0)}.get(pattern, 0)
        positions = torch.arange(first * self._block, frames, device=keys_values.device)
        column, row = positions % self._block, positions // self._block
        if pattern is Pattern.ROW:
            slots = column
        elif pattern is Pattern.PREVIOUS_ROW:
            slots = positions % (2 * self._block)
        elif pattern is Pattern.COLUMN:
            slots = column * (self.max_frames // self._block) + row
        else:
            slots = positions
        self._data[layer][:, :, :, slots] = keys_values[:, :, :, first * self._block :]

    def advance(self, frames: int) -> None:
        """Every layer has stored ``frames`` more frames."""
        self.position += frames

    def select(self, rows: Int64[Tensor, " new_rows"]) -> None:
        """Make row ``n`` what row ``rows[n]`` was; rows may repeat, be left out or change number.

        Only filled slots are copied, and only of rows that change.
        """
        n_rows = self.rows
        if rows.shape[0] == n_rows:
            changed = (rows != torch.arange(n_rows, device=rows.device)).nonzero()[:, 0]
            if len(changed) == 0:
                return
            source = rows[changed]
            for data, pattern in zip(self._data, self.patterns, strict=True):
                filled = self._filled(data, pattern)
                filled.index_copy_(0, changed, filled.index_select(0, source))
            return
        for layer, pattern in enumerate(self.patterns):
            old = self._data[layer]
            new = old.new_empty(rows.shape[0], *old.shape[1:])
            self._filled(new, pattern).copy_(self._filled(old, pattern).index_select(0, rows))
            self._data[layer] = new

    def _filled(self, data: Tensor, pattern: Pattern) -> Tensor:
        """View of the slots that later frames may see; rows first."""
        if pattern is Pattern.COLUMN:
            rows, two, heads, _, head_dim = data.shape
            grid = data.view(rows, two, heads, self._block, -1, head_dim)
            return grid[:, :, :, :, : -(-self.position // self._block)]
        filled = {
            Pattern.DENSE: self.position,
            Pattern.ROW: self.position % self._block,
            Pattern.PREVIOUS_ROW: min(self.position, 2 * self._block),
        }[pattern]
        return data[:, :, :, :filled]
