"""A likelihood of rank D plus one term per row and column: Gaussians around a sum of two vectors.

    log L_n[i, j] = u[n, i] + v[n, j] + x[n, i] . y[n, j]

A K x K matrix is made in blocks of rows, for one hypothesis at a time, and never kept, unless it is
a `GramMatrix` that all frames share. Sums over rows take the first of these that is accurate:

1. one product of the priors with the shared matrix, exponentiated once for all frames, with the
   frame's row and column terms moved into the priors (hypotheses that share the values only);
2. one product with the frame's own matrix, exponentiated relative to the maximum of each row;
3. sums in the log domain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor
from torch.nn.functional import threshold_  # type: ignore[attr-defined]

from lqsep.core.errors import ShapeError
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.likelihoods.certificate import certified_row_logsum, underflow_matters

# Values made at a time: 2 MB in float64 stay in a CPU's cache, a GPU wants few large calls.
_BLOCK_CPU = 1 << 18
_BLOCK_GPU = 1 << 26

# Largest matrix of products that is stored (128 MB, and half of that exponentiated); larger ones
# are multiplied out anew, block by block.
_STORED_PRODUCTS = 1 << 24


class GramMatrix:
    """The products ``x[i] . y[j]`` of shared vectors, made once for all frames.

    Args:
        x: Vectors of source 0's codes.
        y: Vectors of source 1's codes.
        most_stored: Largest matrix (K0 times K1) that is kept; the products of a larger one are
            computed each time they are asked for.

    Raises:
        ShapeError: They are not two matrices of vectors of one size.
    """

    def __init__(
        self,
        x: Float[Tensor, "K0 dims"],
        y: Float[Tensor, "K1 dims"],
        *,
        most_stored: int = _STORED_PRODUCTS,
    ) -> None:
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not len(x) or not len(y):
            raise ShapeError(
                f"Gram matrix: expected two matrices of vectors of one size, got shapes "
                f"{tuple(x.shape)} and {tuple(y.shape)}"
            )
        self._x: Float64[Tensor, "K0 dims"] = x.double()
        self._y: Float64[Tensor, "K1 dims"] = y.double()
        self.shape = (len(x), len(y))
        self.is_stored = len(x) * len(y) <= most_stored

    @cached_property
    def _values(self) -> Float64[Tensor, "K0 K1"]:
        return self._x @ self._y.T

    def rows(self, i: slice | Int64[Tensor, " rows"]) -> Float64[Tensor, "rows K1"]:
        """Rows ``i``. Do not change the result: it may be a view."""
        if self.is_stored:
            return self._values[i]
        return self._x[i] @ self._y.T

    @cached_property
    def scaled(self) -> tuple[Float32[Tensor, "K0 K1"], Float64[Tensor, " K0"]]:
        """``exp(products - peak)`` of stored products and the peak, the maximum of each row."""
        peak = self._values.amax(1)
        result = self._values.new_empty(self.shape, dtype=torch.float32)
        for part in _blocks(self.shape, self._values.is_cuda):
            result[part] = _exp((self._values[part] - peak[part, None]).float())
        return result, peak


class BilinearLikelihood(FrameLikelihood):
    """``log L_n[i, j] = u[n, i] + v[n, j] + x[n, i] . y[n, j]``, natural log, in float64.

    Each argument may leave out its first axis: all hypotheses then share it. Where all do, so do
    the likelihood's values.

    Args:
        u: Terms of source 0's codes; may hold -inf.
        v: Terms of source 1's codes; may hold -inf.
        x: Vectors of source 0's codes.
        y: Vectors of source 1's codes.
        gram: The products of ``x`` and ``y`` where both are shared by hypotheses and frames.

    Raises:
        ShapeError: The arguments do not fit each other.

    Example:
        >>> x, y = torch.randn(5, 3), torch.randn(4, 3)
        >>> likelihood = BilinearLikelihood(torch.zeros(5), torch.zeros(4), x, y)
        >>> likelihood.n_codes, likelihood.n_rows
        ((5, 4), 1)
    """

    def __init__(
        self,
        u: Float[Tensor, "... K0"],
        v: Float[Tensor, "... K1"],
        x: Float[Tensor, "... K0 dims"],
        y: Float[Tensor, "... K1 dims"],
        *,
        gram: GramMatrix | None = None,
    ) -> None:
        _check_shapes(u, v, x, y, gram)
        self._u, self._v = _with_rows(u, 2), _with_rows(v, 2)
        self._x, self._y = _with_rows(x, 3), _with_rows(y, 3)
        self._gram = gram
        self.n_codes = (int(u.shape[-1]), int(v.shape[-1]))
        self.n_rows = max(len(part) for part in (self._u, self._v, self._x, self._y))

    @cached_property
    def upper(self) -> Float64[Tensor, " n_rows"]:  # type: ignore[override]
        """The largest value of each row; takes a pass over all pairs when first asked for."""
        return self.row_upper().amax(1)

    def rows(
        self, n: Int64[Tensor, " rows"], i: Int64[Tensor, " rows"]
    ) -> Float64[Tensor, "rows K1"]:
        if len(self._x) == len(self._y) == 1:
            result = self._products(0, i)
        else:
            result = self._v.new_empty(len(i), self.n_codes[1])
            for hypothesis in sorted(set(n.tolist())):
                mine = n == hypothesis
                result[mine] = self._products(hypothesis, i[mine])
        terms = _of(self._u, n)
        return result + _of(self._v, n) + terms.gather(1, i[:, None])

    def at(
        self, n: Int64[Tensor, " rows"], codes: Int64[Tensor, "rows sources"]
    ) -> Float64[Tensor, " rows"]:
        i, j = codes.unbind(1)
        x, y = (_each(part, n, code) for part, code in ((self._x, i), (self._y, j)))
        u, v = (_each(part, n, code) for part, code in ((self._u, i), (self._v, j)))
        return (x * y).sum(1) + v + u

    def row_upper(self) -> Float64[Tensor, "n_rows K0"]:
        return self._row_upper

    @cached_property
    def _row_upper(self) -> Float64[Tensor, "n_rows K0"]:
        result = self._u.new_empty(self.n_rows, self.n_codes[0])
        for n in range(self.n_rows):
            for part, values in self._matrix(n):
                result[n, part] = values.amax(1)
        return result

    def row_logsum(
        self, log_p0: Float[Tensor, "hypotheses K0"], log_p1: Float[Tensor, "hypotheses K1"]
    ) -> Float64[Tensor, "hypotheses K0"]:
        log_p0, log_p1 = log_p0.double(), log_p1.double()
        if self.n_rows > 1:
            return self._logsum_each(log_p1)
        if self._gram is None or not self._gram.is_stored:
            return self._logsum_shared(log_p0, log_p1)
        result, doubtful = self._logsum_fixed(self._gram, log_p0, log_p1)
        if doubtful.any():
            result[doubtful] = self._logsum_shared(log_p0[doubtful], log_p1[doubtful])
        return result

    def pairs(
        self, n: int, tau: float
    ) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"], Float64[Tensor, " pairs"]]:
        found_i, found_j, found = [], [], []
        for part, values in self._matrix(n):
            i, j = self._near(n, values, tau).nonzero(as_tuple=True)
            found_i.append(i + part.start)
            found_j.append(j)
            found.append(values[i, j])
        return torch.cat(found_i), torch.cat(found_j), torch.cat(found)

    def n_pairs(self, n: int, tau: float) -> int:
        return sum(int(self._near(n, values, tau).sum()) for _, values in self._matrix(n))

    def _near(self, n: int, values: Tensor, tau: float) -> Bool[Tensor, "rows K1"]:
        return (values >= self.upper[n if self.n_rows > 1 else 0] - tau) & values.isfinite()

    def _products(self, n: int, i: slice | Tensor) -> Float64[Tensor, "rows K1"]:
        """``x[n, i] . y[n, :]``; may be a view."""
        if self._gram is not None:
            return self._gram.rows(i)
        return _row(self._x, n)[i] @ _row(self._y, n).T

    def _matrix(self, n: int) -> Iterator[tuple[slice, Float64[Tensor, "rows K1"]]]:
        """All values of one hypothesis, a block of rows at a time."""
        u, v = _row(self._u, n), _row(self._v, n)
        for part in _blocks(self.n_codes, self._u.is_cuda):
            yield part, (self._products(n, part) + v).add_(u[part, None])

    def _logsum_fixed(
        self, gram: GramMatrix, log_p0: Tensor, log_p1: Tensor
    ) -> tuple[Float64[Tensor, "hypotheses K0"], Bool[Tensor, " hypotheses"]]:
        """Sums by the matrix that all frames share, and the hypotheses that need another way.

        The frame's terms go into the priors, ``a + u`` and ``b + v``; the rows of what is left are
        scaled by their own maxima.
        """
        scaled, peak = gram.scaled
        columns = log_p1 + self._v
        largest = _finite(columns.amax(1))
        weights = (columns - largest[:, None]).exp().float()
        scale = largest[:, None] + self._u + peak
        result = (weights @ scaled.T).double().log() + scale
        tiny = torch.finfo(torch.float32).tiny
        return result, underflow_matters(log_p0, scale, result, self.n_codes[1], tiny).any(1)

    def _logsum_shared(self, log_p0: Tensor, log_p1: Tensor) -> Float64[Tensor, "hypotheses K0"]:
        """Sums by one product with the frame's matrix, its rows scaled by their own maxima."""

        def scaled_sums(n: Tensor, weights: Tensor) -> Tensor:
            result = weights.new_empty(len(weights), self.n_codes[0])
            for part, values in self._matrix(0):
                values.sub_(_finite(self._row_upper[0, part])[:, None])
                # Rounded only now: near the maximum the differences are small.
                result[:, part] = weights @ _exp(values.to(weights.dtype)).T
            return result

        scale = _finite(self._row_upper)
        return certified_row_logsum(self, scaled_sums, log_p0, log_p1, row_scale=scale)

    def _logsum_each(self, log_p1: Tensor) -> Float64[Tensor, "hypotheses K0"]:
        """Sums where each hypothesis has its own matrix: nothing to share, nothing to underflow."""
        result = log_p1.new_empty(len(log_p1), self.n_codes[0])
        for n, column in enumerate(log_p1):
            for part, values in self._matrix(n):
                values += column
                peak = _finite(values.amax(1))
                # Rounded relative to the maximum, a term is off by at most 1e-7 of the sum.
                sums = _exp(values.sub_(peak[:, None]).float()).sum(1)
                result[n, part] = sums.double().log() + peak
        return result


def _check_shapes(u: Tensor, v: Tensor, x: Tensor, y: Tensor, gram: GramMatrix | None) -> None:
    shapes = [tuple(part.shape) for part in (u, v, x, y)]
    extra = [part.ndim - rank for part, rank in zip((u, v, x, y), (1, 1, 2, 2), strict=True)]
    n_rows = {shape[0] for shape, more in zip(shapes, extra, strict=True) if more == 1}
    fits = (
        set(extra) <= {0, 1}
        and len(n_rows - {1}) <= 1
        and u.numel() > 0
        and v.numel() > 0
        and shapes[0][-1] == shapes[2][-2]
        and shapes[1][-1] == shapes[3][-2]
        and shapes[2][-1] == shapes[3][-1]
    )
    if not fits:
        raise ShapeError(
            "bilinear likelihood: expected terms [rows, K0] and [rows, K1] and vectors "
            f"[rows, K0, dims] and [rows, K1, dims], rows optional, got shapes {shapes}"
        )
    if gram is not None and (x.ndim > 2 or y.ndim > 2 or gram.shape != (len(x), len(y))):
        raise ShapeError(
            f"bilinear likelihood: a Gram matrix of {gram.shape} codes needs as many vectors, "
            f"shared by all hypotheses, got shapes {shapes[2:]}"
        )


def _with_rows(values: Tensor, ndim: int) -> Tensor:
    return values.double().view(*[1] * (ndim - values.ndim), *values.shape)


def _row(values: Tensor, n: int) -> Tensor:
    """Of hypothesis ``n``."""
    return values[n if len(values) > 1 else 0]


def _of(values: Tensor, n: Tensor) -> Tensor:
    """Of hypotheses ``n``, one row each."""
    return values[n] if len(values) > 1 else values.expand(len(n), *values.shape[1:])


def _each(values: Tensor, n: Tensor, code: Tensor) -> Tensor:
    """Of hypotheses ``n``, one code each."""
    return values[n if len(values) > 1 else torch.zeros_like(n), code]


def _finite(values: Tensor) -> Tensor:
    """Zero in place of -inf, which nothing can be scaled by."""
    return torch.where(values.isfinite(), values, 0.0)


def _exp(values: Float[Tensor, "rows K1"]) -> Float[Tensor, "rows K1"]:
    """``exp(values)`` in their own memory, zero instead of what lies below the normal numbers.

    Exponentials near and below those take a CPU ten times as long as others. What is lost is less
    than twice the smallest normal number.
    """
    tiny = torch.finfo(values.dtype).tiny
    values.clamp_(min=math.log(1.25 * tiny)).exp_()
    result: Tensor = threshold_(values, 1.5 * tiny, 0.0)
    return result


def _blocks(shape: tuple[int, ...], is_cuda: bool) -> Iterator[slice]:
    """Rows of a matrix, a block at a time."""
    step = max(1, (_BLOCK_GPU if is_cuda else _BLOCK_CPU) // shape[1])
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))
