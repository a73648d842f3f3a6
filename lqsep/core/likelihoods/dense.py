"""Every pair's value stored, evaluated in the log domain: slow, exact, for small codebooks."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from lqsep.core.errors import ShapeError
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood


class DenseLikelihood(FrameLikelihood):
    """All of ``log L_n[i, j]``.

    Args:
        log_likelihood: ``K0 K1`` for all hypotheses or ``rows K0 K1`` for one matrix each; natural
            log, kept in float64. May hold -inf.

    Raises:
        ShapeError: It is neither of the two, or empty.
    """

    def __init__(self, log_likelihood: Float[Tensor, "*rows K0 K1"]) -> None:
        values = log_likelihood.double()
        if values.ndim == 2:
            values = values[None]
        if values.ndim != 3 or not values.numel():
            raise ShapeError(
                f"dense likelihood: expected a matrix or rows of matrices, got shape "
                f"{tuple(log_likelihood.shape)}"
            )
        self._values: Float64[Tensor, "rows K0 K1"] = values
        self.n_rows = len(values)
        self.n_codes = (int(values.shape[1]), int(values.shape[2]))
        self.upper: Float64[Tensor, " rows"] = values.amax((1, 2))

    def _rows(self, n: Int64[Tensor, " rows"]) -> Int64[Tensor, " rows"]:
        return n if self.n_rows > 1 else torch.zeros_like(n)

    def rows(
        self, n: Int64[Tensor, " rows"], i: Int64[Tensor, " rows"]
    ) -> Float64[Tensor, "rows K1"]:
        return self._values[self._rows(n), i]

    def at(
        self, n: Int64[Tensor, " rows"], codes: Int64[Tensor, "rows sources"]
    ) -> Float64[Tensor, " rows"]:
        return self._values[self._rows(n), codes[:, 0], codes[:, 1]]

    def row_upper(self) -> Float64[Tensor, "n_rows K0"]:
        return self._values.amax(2)

    def row_logsum(
        self, log_p0: Float[Tensor, "hypotheses K0"], log_p1: Float[Tensor, "hypotheses K1"]
    ) -> Float64[Tensor, "hypotheses K0"]:
        sums = []
        # One hypothesis at a time: a matrix of the likelihood's own size, never one per hypothesis.
        for n, column in enumerate(log_p1.double()):
            values = self._values[n if self.n_rows > 1 else 0]
            sums.append((values + column).logsumexp(1))
        return torch.stack(sums) if sums else self._values.new_empty(0, self.n_codes[0])

    def _near(self, n: int, tau: float) -> Bool[Tensor, "K0 K1"]:
        row = n if self.n_rows > 1 else 0
        values = self._values[row]
        return (values >= self.upper[row] - tau) & values.isfinite()

    def pairs(
        self, n: int, tau: float
    ) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"], Float64[Tensor, " pairs"]]:
        i, j = self._near(n, tau).nonzero(as_tuple=True)
        return i, j, self._values[n if self.n_rows > 1 else 0][i, j]

    def n_pairs(self, n: int, tau: float) -> int:
        return int(self._near(n, tau).sum())
