"""Which pairs of codes explain one frame of the mixture, asked without listing the pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float, Float64, Int64
from torch import Tensor


class FrameLikelihood(ABC):
    """``log L_n[i, j]``: log-likelihood of one frame for code i of source 0 and code j of source 1.

    Two sources over 2048 codes have 4.2 million pairs, so a sampler never lists them per
    hypothesis: it asks for whole rows, single pairs, sums over rows, bounds, and the few pairs
    near the best.

    ``n`` counts the likelihood's own rows. A caller with many hypotheses passes the hypotheses'
    numbers: where ``n_rows`` is 1 the one row serves all of them and ``n`` is not looked at.

    All values are natural logs in float64 (the tables behind them may be float32), so that a
    constant common to a frame costs no digits; ``-inf`` marks impossible pairs.
    """

    n_codes: tuple[int, ...]
    """Codes of every source; the methods below work on pairs, K0 codes and K1 codes."""
    n_rows: int
    """1 when all hypotheses share the values, else one row per hypothesis."""
    upper: Float64[Tensor, " n_rows"]
    """At least the largest value of each row; exact where that is cheap."""

    @abstractmethod
    def rows(
        self, n: Int64[Tensor, " rows"], i: Int64[Tensor, " rows"]
    ) -> Float64[Tensor, "rows K1"]:
        """``log L_n[i, :]`` for every given (n, i)."""

    @abstractmethod
    def at(
        self, n: Int64[Tensor, " rows"], codes: Int64[Tensor, "rows sources"]
    ) -> Float64[Tensor, " rows"]:
        """``log L_n[codes[0], codes[1]]`` for every given n and pair."""

    @abstractmethod
    def row_upper(self) -> Float64[Tensor, "n_rows K0"]:
        """At least ``max_j log L_n[i, j]``. Do not change the result: it may be kept."""

    @abstractmethod
    def row_logsum(
        self, log_p0: Float[Tensor, "hypotheses K0"], log_p1: Float[Tensor, "hypotheses K1"]
    ) -> Float64[Tensor, "hypotheses K0"]:
        """``log sum_j exp(log_p1[n, j] + log L_n[i, j])`` for every hypothesis n and code i.

        ``log_p0`` only says which rows matter: the result is accurate for the distribution
        ``softmax(log_p0 + result)`` and for its normaliser, not for rows without weight in it.
        Both may hold -inf and need not be normalised.
        """

    @abstractmethod
    def pairs(
        self, n: int, tau: float
    ) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"], Float64[Tensor, " pairs"]]:
        """``(i, j, log L_n[i, j])`` of every possible pair of value ``upper[n] - tau`` or more.

        The order is unspecified but always the same. With priors that sum to one, the pairs left
        out hold at most ``exp(upper[n] - tau)`` of the evidence.
        """

    @abstractmethod
    def n_pairs(self, n: int, tau: float) -> int:
        """How many pairs `pairs` would give, without listing them."""
