"""Which codes of a frame a pruned pass looks at.

A code's weight bounds what the sequences through it have in view of its frame and some to come, as
if the other source took the best of its codes at each of them. For rows

    p(i | frames before) * max_j L[i, j] * reach(i),    reach_t = A0 (max_j L_{t+1} * reach_{t+1})

and for columns likewise. The messages know the first factor. The other two are the likelihood's,
and are made here for many frames at once. Where what a code has in view of its frame is known, it
takes the place of the first two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.inference.smoothing.kept_products import Kept, Row

HORIZON = 16
"""Frames to come, at least, that decide with a frame's own. More change little."""

# Entries of a megabyte.
_CACHED = 1 << 18

# Least of peaks (in logs) and reaches, relative to the largest of a frame. Bounds may be too large,
# and the products of smaller ones would be denormal numbers, which are slow.
_LOG_FAINT = -40.0
_LEAST = 1e-15

Reach = npt.NDArray[np.float64]
Peaks = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Chunk:
    """What the likelihood says of some consecutive frames.

    Args:
        start: The first one.
        values: Logs, of every pair.
        upper: The largest of each frame; 0 where nothing is possible.
        peaks: Per source, the largest likelihood of each code, relative to that.
    """

    start: int
    values: Float[np.ndarray, "frames K0 K1"]
    upper: Float[np.ndarray, " frames"]
    peaks: Peaks

    @classmethod
    def of(cls, start: int, values: Float[Tensor, "frames K0 K1"]) -> Chunk:
        """With the largest ones looked up."""
        # A few frames at a time, as many as stay in the cache for the second look.
        parts = torch.split(values, max(1, _CACHED // values[0].numel()))
        found = [(part.amax(2), part.amax(1)) for part in parts]
        first, second = map(torch.cat, zip(*found, strict=True))
        upper = first.amax(1).nan_to_num(neginf=0.0)
        first, second = (
            (table - upper[:, None]).float().clamp_(min=_LOG_FAINT).exp_()
            for table in (first, second)
        )
        return cls(start, values.numpy(), upper.numpy(), (first.numpy(), second.numpy()))

    @property
    def head(self) -> Peaks:
        """Of the frames that the chunk before this one looks at."""
        return self.peaks[0][:HORIZON], self.peaks[1][:HORIZON]

    def reach(
        self, head: Peaks | None, probability: Sequence[Float[Tensor, "_from _to"]]
    ) -> tuple[Reach, Reach]:
        """Of every code, up to a number per frame.

        Args:
            head: Of the chunk after this one, if any.
            probability: Per source, of its transitions.
        """
        first, second = (
            _reach(peaks if head is None else np.concatenate([peaks, head[source]]), table)
            for source, (peaks, table) in enumerate(zip(self.peaks, probability, strict=True))
        )
        return first[: len(self.upper)], second[: len(self.upper)]


def _reach(peaks: npt.NDArray[np.float32], probability: Float[Tensor, "_from _to"]) -> Reach:
    known = torch.from_numpy(peaks)
    # Nothing is known of what follows the last frame.
    reach = torch.ones_like(known)
    for frame in reversed(range(len(known) - 1)):
        ahead = torch.mv(probability, known[frame + 1] * reach[frame + 1], out=reach[frame])
        ahead.div_(ahead.amax()).clamp_(min=_LEAST)
    return reach.double().numpy()


def heaviest(had: Sequence[Row], reach: Sequence[Reach], share: float) -> Kept:
    """The codes of each source that have this share of its largest weight.

    Args:
        had: Per source, what codes have in view of the frames so far.
        reach: Likewise, of those to come.
        share: Of the largest product of the two.
    """
    rows, columns = (one * other for one, other in zip(had, reach, strict=True))
    return Kept(
        np.flatnonzero(rows >= share * rows.max()), np.flatnonzero(columns >= share * columns.max())
    )
