"""What a pair of codes says of a mixture's log-band frame: a Gaussian, and the table of all pairs.

Notation: ``a`` and ``b`` are the log band powers of the two codes as they stand in the mixture,
gain and equaliser included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

# Values (pairs times bands) of a table computed at a time: 2 MiB in float64 for each of the
# intermediate results.
_BLOCK = 1 << 18

# Pairs of a matrix product.
_COLUMNS = 2048

# Numbers of the table looked up at a time: 4 MB.
_LOOKED_UP = 1 << 20


@dataclass(frozen=True)
class PairGaussian:
    """The Gaussian of some pairs; each tensor ends with the axis of the bands.

    Args:
        mean: Log band power of the sum.
        variance: Of the mixture's log band power.
        shares: Of each source in the sum's power.
    """

    mean: Float64[Tensor, "*pairs bands"]
    variance: Float64[Tensor, "*pairs bands"]
    shares: tuple[Float64[Tensor, "*pairs bands"], Float64[Tensor, "*pairs bands"]]

    def log_prob(self, targets: Float[Tensor, "*targets bands"]) -> Float64[Tensor, "*pairs"]:
        """Sum over bands, less the constant ``log(2 pi) / 2`` per band; targets broadcast."""
        squares = (targets - self.mean).square() / self.variance
        return -(squares + self.variance.log()).sum(-1) / 2


@dataclass(frozen=True)
class PairModel:
    """The codes of two sources as they stand in a mixture.

    ``m ~ N(log(e^a + e^b + floor), w^2 v_a + u^2 v_b + s0)`` in every band, with ``w`` and ``u``
    the sources' shares in the power: the variance of a sum to first order in those of the codes
    (delta method).

    Args:
        levels: ``a`` and ``b`` of every code, natural log.
        variances: ``v_a`` and ``v_b``.
        floor: Linear power per band.
        residual_variance: ``s0``, squared natural log.
    """

    levels: tuple[Float64[Tensor, "K0 bands"], Float64[Tensor, "K1 bands"]]
    variances: tuple[Float64[Tensor, "K0 bands"], Float64[Tensor, "K1 bands"]]
    floor: Float64[Tensor, " bands"]
    residual_variance: float

    @property
    def n_codes(self) -> tuple[int, int]:
        return len(self.levels[0]), len(self.levels[1])

    def shifted(self, equaliser: Float64[Tensor, "sources bands"]) -> PairModel:
        """The model with each source's log powers moved by its equaliser."""
        first, second = self.levels
        return replace(self, levels=(first + equaliser[0], second + equaliser[1]))

    def gaussian(self, i: Int64[Tensor, "*pairs_i"], j: Int64[Tensor, "*pairs_j"]) -> PairGaussian:
        """Of the pairs of codes ``i`` of source 0 and ``j`` of source 1, which broadcast."""
        first, second = self._powers[0][i], self._powers[1][j]
        total = first + second + self.floor
        w, u = first / total, second / total
        variance = w.square() * self.variances[0][i] + u.square() * self.variances[1][j]
        return PairGaussian(total.log(), variance + self.residual_variance, (w, u))

    @cached_property
    def _powers(self) -> tuple[Float64[Tensor, "K0 bands"], Float64[Tensor, "K1 bands"]]:
        return self.levels[0].exp(), self.levels[1].exp()


class PairTable:
    """Log-likelihoods of all pairs for any number of frames, as one matrix product.

    A Gaussian is quadratic in the frame ``m``, so that with ``x = m - centre``

        -((m - mean)^2 / variance + log variance) / 2
            = -x^2 / (2 variance) + x y / variance + constant

    where ``y = mean - centre``. The product takes place in float32. The constant is summed in
    float64, and the centre, in the middle of what the pairs say, keeps the terms that cancel each
    other small: without it they grow with the square of the loudness.

    Args:
        model: The codes.
        temper: Factor of the log-likelihood.
    """

    def __init__(self, model: PairModel, temper: float) -> None:
        n_rows, n_columns = self.n_codes = model.n_codes
        n_bands = len(model.floor)
        middle = model.levels[0].mean(0).exp() + model.levels[1].mean(0).exp() + model.floor
        self._centre: Float64[Tensor, " bands"] = middle.log()
        device = self._centre.device
        shape = (n_rows * n_columns, 2 * n_bands + 1)
        self._factors: Float32[Tensor, "pairs factors"] = torch.empty(shape, device=device)
        j = torch.arange(n_columns, device=device)
        for i in _blocks(n_rows, n_columns * n_bands, device):
            pairs = model.gaussian(i[:, None], j)
            y = pairs.mean - self._centre
            precision = temper / pairs.variance
            constant = -(precision * y.square() + temper * pairs.variance.log()).sum(-1) / 2
            part = slice(int(i[0]) * n_columns, (int(i[-1]) + 1) * n_columns)
            self._factors[part, :n_bands] = (precision / -2).flatten(0, 1)
            self._factors[part, n_bands:-1] = (precision * y).flatten(0, 1)
            self._factors[part, -1] = constant.flatten()

    def log_likelihood(
        self, targets: Float[Tensor, "frames bands"]
    ) -> Float32[Tensor, "frames K0 K1"]:
        """Of every pair for every frame."""
        terms = self._terms(targets)
        result = torch.empty(len(terms), len(self._factors), device=terms.device)
        # A product as wide as all pairs takes a third longer.
        parts = torch.split(result, _COLUMNS, 1)
        for part, factors in zip(parts, torch.split(self._factors, _COLUMNS), strict=True):
            torch.mm(terms, factors.T, out=part)
        return result.view(-1, *self.n_codes)

    def at(
        self,
        targets: Float[Tensor, "frames bands"],
        i: Int64[Tensor, "frames rows"],
        j: Int64[Tensor, "frames columns"],
    ) -> Float32[Tensor, "frames rows columns"]:
        """Of the pairs of some codes of every frame."""
        terms = self._terms(targets)
        pairs = (i[:, :, None] * self.n_codes[1] + j[:, None]).flatten(1)
        step = max(1, _LOOKED_UP // (pairs.shape[1] * terms.shape[1]))
        parts = [
            torch.bmm(self._factors[some], term[:, :, None])
            for some, term in zip(torch.split(pairs, step), torch.split(terms, step), strict=True)
        ]
        return torch.cat(parts).view(len(i), i.shape[1], j.shape[1])

    def _terms(self, targets: Float[Tensor, "frames bands"]) -> Float32[Tensor, "frames factors"]:
        """What a pair's factors are multiplied with."""
        x = targets.double() - self._centre
        return torch.cat([x.square(), x, torch.ones_like(x[:, :1])], 1).float()


def _blocks(n_rows: int, row_size: int, device: torch.device) -> Iterator[Int64[Tensor, " rows"]]:
    """All rows in order, so many at a time that their values fit into a block."""
    step = max(1, _BLOCK // row_size)
    for start in range(0, n_rows, step):
        yield torch.arange(start, min(start + step, n_rows), device=device)
