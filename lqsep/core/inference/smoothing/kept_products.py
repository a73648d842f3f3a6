"""Products of messages and transitions for some of a frame's pairs, in float32.

Indices and small vectors are numpy's, which takes less time for one than torch; products are
torch's, which a caller can keep to one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32
from torch import Tensor

from lqsep.core.inference.state import MarkovPosterior

# Values below are dropped: denormal numbers are slow.
_LEVEL = 1e-30

# Log of the smallest likelihood but 0, relative to the frame's largest. Smaller ones are taken for
# it, which is nothing (1e-24) beside the least that a frame has of its largest, 1e-12.
_LOG_FAINT = -55.0

Codes = npt.NDArray[np.int64]
Row = npt.NDArray[np.float32]


class Kept(NamedTuple):
    """Codes of each source, rising. With them all their pairs are kept."""

    rows: Codes
    columns: Codes

    def of(self, pairs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of something given for all pairs."""
        return pairs.take(self.rows, 0).take(self.columns, 1)

    def chosen(self, places: Kept) -> Kept:
        """Some of them, given by their places."""
        return Kept(self.rows[places.rows], self.columns[places.columns])


@dataclass(frozen=True)
class Part:
    """Something said of a frame's kept pairs."""

    values: Float32[Tensor, "rows columns"]
    kept: Kept

    @classmethod
    def scaled(cls, values: Float32[Tensor, "rows columns"], scale: float, kept: Kept) -> Part:
        """Divided by a number, in place."""
        return cls(torch.threshold_(values.div_(scale), _LEVEL, 0.0), kept)


class Chains:
    """Both sources' Markov chains.

    Args:
        markov: That they are of.
    """

    def __init__(self, markov: MarkovPosterior) -> None:
        self.probability = [_probability(table) for table in markov.log_transition]
        self._initial = [_probability(table).numpy() for table in markov.log_initial]
        self._first, self._second = (table.numpy() for table in self.probability)
        self._to = [np.ascontiguousarray(table.T) for table in (self._first, self._second)]
        # Of the likeliest way into each code.
        self._into = [table.max(0) for table in (self._first, self._second)]
        self.n_codes = len(self._first), len(self._second)
        self.everything = Kept(*map(np.arange, self.n_codes))

    def expected(self, message: Part | None) -> tuple[Row, Row]:
        """Probability of each source's next code; of the first one, if there is no message."""
        if message is None:
            return self._initial[0], self._initial[1]
        values, kept = message.values, message.kept
        rows = torch.mv(_tensor(self._first.take(kept.rows, 0)).T, values.sum(1))
        columns = torch.mv(_tensor(self._second.take(kept.columns, 0)).T, values.sum(0))
        return rows.numpy(), columns.numpy()

    def forward(self, message: Part | None, kept: Kept) -> Float32[Tensor, "rows columns"]:
        """Probability of pairs that the next frame keeps; of the first one, without a message."""
        if message is None:
            return _tensor(np.outer(self._initial[0][kept.rows], self._initial[1][kept.columns]))
        first = Kept(kept.rows, message.kept.rows).of(self._to[0])
        second = Kept(message.kept.columns, kept.columns).of(self._second)
        return _tensor(first) @ message.values @ _tensor(second)

    def backward(self, seen: Part, kept: Kept) -> Float32[Tensor, "rows columns"]:
        """What is seen of a frame says this of pairs that the one before keeps."""
        first = Kept(kept.rows, seen.kept.rows).of(self._first)
        second = Kept(seen.kept.columns, kept.columns).of(self._to[1])
        return _tensor(first) @ seen.values @ _tensor(second)

    def most(self, seen: list[Part | None], source: int) -> Float32[np.ndarray, "frames codes"]:
        """Bound of `backward` for each code of a source, whatever the other's.

        Args:
            seen: Of the frames after some frames; None is nothing, and says 1.
            source: Which.
        """
        sums = np.zeros((len(seen), self.n_codes[source]), np.float32)
        for row, part in zip(sums, seen, strict=True):
            if part is not None:
                values = part.values if source == 0 else part.values.T
                into = _tensor(self._into[1 - source].take(part.kept[1 - source]))
                row[part.kept[source]] = torch.mv(values, into).numpy()
        result = (_tensor(sums) @ _tensor(self._to[source])).numpy()
        for row, part in zip(result, seen, strict=True):
            if part is None:
                row[:] = 1.0
        return result

    def draw(
        self, message: Part, following: Codes | None, uniform: npt.NDArray[np.float64]
    ) -> tuple[Codes, Codes]:
        """Draws pairs given the frames so far and the pairs of the next frame, if any.

        Args:
            message: Of the frame.
            following: Codes of the next one, ``sources draws``.
            uniform: In [0, 1), ``draws 2``.

        Returns:
            Places among the kept rows and columns.
        """
        if following is None:
            rows = message.values.sum(1).expand(len(uniform), -1)
            i = _pick(rows.numpy(), uniform[:, 0])
            return i, _pick(message.values.numpy()[i], uniform[:, 1])
        to_rows, to_columns = (
            table.take(codes, 0).take(places, 1)
            for table, codes, places in zip(self._to, following, message.kept, strict=True)
        )
        rows = _tensor(to_columns) @ message.values.T
        i = _pick(rows.numpy() * to_rows, uniform[:, 0])
        return i, _pick(message.values.numpy()[i] * to_columns, uniform[:, 1])


def likelihoods_of(
    logs: npt.NDArray[np.floating[Any]], upper: float
) -> Float32[Tensor, "rows columns"]:
    """Relative to the largest. Takes its argument's memory."""
    holes = logs == -np.inf if logs.min() == -np.inf else None
    logs -= upper
    np.maximum(logs, _LOG_FAINT, out=logs)
    np.exp(logs, out=logs)
    if holes is not None:
        logs[holes] = 0.0
    return _tensor(logs.astype(np.float32, copy=False))


def _pick(weights: npt.NDArray[np.float32], uniform: npt.NDArray[np.float64]) -> Codes:
    """An item of each row, by inverting its cumulative sum; none of weight zero."""
    cumulative = weights.cumsum(1, dtype=float)
    total = cumulative[:, -1]
    target = np.minimum(uniform * total, np.nextafter(total, 0))
    picked: Codes = (cumulative <= target[:, None]).sum(1)
    return picked


def _probability(logs: Tensor) -> Float32[Tensor, "*axes"]:
    return logs.double().exp().float().contiguous()


def _tensor(values: npt.NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(values)
