"""A list of pairs with their values and one floor for all the others."""

from __future__ import annotations

import math
import warnings
from functools import cache, cached_property

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from lqsep.core.errors import ShapeError
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.likelihoods.certificate import certified_row_logsum


class SparseLikelihood(FrameLikelihood):
    """``log L[i, j] = values[p]`` for listed pairs p = (i, j), ``floor`` for the others.

    All hypotheses share it. No listed value lies below the floor: the sum over a row is then the
    floor's plus what the listed pairs add to it, all of it positive, and nothing cancels.

    Args:
        n_codes: K0 and K1.
        i, j: Codes of source 0 and 1 of the listed pairs, each pair once, in any order.
        values: Their log-likelihood, natural log.
        floor: That of every unlisted pair; ``-inf`` makes them impossible.

    Raises:
        ShapeError: The lists are not of the same length.
        ValueError: A pair is listed twice or out of range, or a value lies below the floor.
    """

    n_rows = 1

    def __init__(
        self,
        n_codes: tuple[int, int],
        i: Int64[Tensor, " pairs"],
        j: Int64[Tensor, " pairs"],
        values: Float[Tensor, " pairs"],
        floor: float = -math.inf,
    ) -> None:
        if not (i.ndim == j.ndim == values.ndim == 1 and len(i) == len(j) == len(values)):
            raise ShapeError(
                f"sparse likelihood: expected three lists of one length, got shapes "
                f"{tuple(i.shape)}, {tuple(j.shape)}, {tuple(values.shape)}"
            )
        _check_pairs(n_codes, i, j)
        values = values.double()
        if len(values) and not bool((values >= floor).all()):
            raise ValueError(
                f"sparse likelihood: expected values of at least the floor {floor}, got "
                f"{float(values.min())}"
            )
        order = torch.argsort(i * n_codes[1] + j)
        self.n_codes = n_codes
        self.floor = floor
        self._i, self._j, self._values = i[order], j[order], values[order]
        upper = float(values.max()) if len(values) else floor
        self.upper: Float64[Tensor, " rows"] = self._values.new_tensor([upper])
        counts = torch.bincount(self._i, minlength=n_codes[0])
        self._counts = counts
        self._starts = counts.cumsum(0) - counts

    def rows(
        self, n: Int64[Tensor, " rows"], i: Int64[Tensor, " rows"]
    ) -> Float64[Tensor, "rows K1"]:
        counts = self._counts[i]
        result = self._values.new_full((len(i), self.n_codes[1]), self.floor)
        row = torch.arange(len(i), device=i.device).repeat_interleave(counts)
        shift = self._starts[i] - (counts.cumsum(0) - counts)
        listed = torch.arange(len(row), device=i.device) + shift.repeat_interleave(counts)
        result[row, self._j[listed]] = self._values[listed]
        return result

    def at(
        self, n: Int64[Tensor, " rows"], codes: Int64[Tensor, "rows sources"]
    ) -> Float64[Tensor, " rows"]:
        result = self._values.new_full((len(codes),), self.floor)
        if not len(self._values):
            return result
        wanted = codes[:, 0] * self.n_codes[1] + codes[:, 1]
        place = torch.searchsorted(self._flat, wanted).clamp_max(len(self._flat) - 1)
        return torch.where(self._flat[place] == wanted, self._values[place], result)

    @cached_property
    def _flat(self) -> Int64[Tensor, " pairs"]:
        return self._i * self.n_codes[1] + self._j

    def row_upper(self) -> Float64[Tensor, "n_rows K0"]:
        return self._row_upper

    @cached_property
    def _row_upper(self) -> Float64[Tensor, "n_rows K0"]:
        # No listed value lies below the floor, so starting from it is right for full rows too
        # (a bound that may not be reached).
        result = self._values.new_full((self.n_codes[0],), self.floor)
        return result.scatter_reduce(0, self._i, self._values, "amax")[None]

    def row_logsum(
        self, log_p0: Float[Tensor, "hypotheses K0"], log_p1: Float[Tensor, "hypotheses K1"]
    ) -> Float64[Tensor, "hypotheses K0"]:
        return certified_row_logsum(self, self._scaled_sums, log_p0, log_p1)

    def _scaled_sums(self, n: Tensor, weights: Tensor) -> Tensor:
        floor, excess = self._scaled
        ends = self._counts.cumsum(0)
        _announce_csr()
        matrix = torch.sparse_csr_tensor(
            torch.cat([ends.new_zeros(1), ends]),
            self._j,
            excess.to(weights.dtype),
            self.n_codes,
            check_invariants=False,
        )
        listed: Tensor = torch.sparse.mm(matrix, weights.T).T
        return listed + floor * weights.sum(1, keepdim=True)

    @cached_property
    def _scaled(self) -> tuple[float, Float64[Tensor, " pairs"]]:
        """``exp(floor - upper)`` and by how much each listed ``exp(value - upper)`` exceeds it."""
        upper = float(self.upper[0])
        if upper == -math.inf:
            return 0.0, torch.zeros_like(self._values)
        floor = math.exp(self.floor - upper)
        return floor, (self._values - upper).exp() - floor

    def _near(self, tau: float) -> Bool[Tensor, " pairs"]:
        return (self._values >= self.upper[0] - tau) & self._values.isfinite()

    def _has_floor(self, tau: float) -> bool:
        return self.floor > -math.inf and self.floor >= float(self.upper[0]) - tau

    def pairs(
        self, n: int, tau: float
    ) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"], Float64[Tensor, " pairs"]]:
        if self._has_floor(tau):  # then every pair is near enough
            values = self._values.new_full(self.n_codes, self.floor)
            values[self._i, self._j] = self._values
            i, j = torch.ones_like(values, dtype=torch.bool).nonzero(as_tuple=True)
            return i, j, values.flatten()
        near = self._near(tau)
        return self._i[near], self._j[near], self._values[near]

    def n_pairs(self, n: int, tau: float) -> int:
        if self._has_floor(tau):
            return self.n_codes[0] * self.n_codes[1]
        return int(self._near(tau).sum())


@cache
def _announce_csr() -> None:
    """Let torch say once, unheard, that CSR matrices are in beta: the warning is not for users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.eye(1).to_sparse_csr()


def _check_pairs(n_codes: tuple[int, int], i: Tensor, j: Tensor) -> None:
    if not len(i):
        return
    in_range = (i >= 0) & (i < n_codes[0]) & (j >= 0) & (j < n_codes[1])
    if not bool(in_range.all()):
        raise ValueError(f"sparse likelihood: a listed pair is outside {n_codes} codes")
    if len(torch.unique(i * n_codes[1] + j)) != len(i):
        raise ValueError("sparse likelihood: a pair is listed twice")
