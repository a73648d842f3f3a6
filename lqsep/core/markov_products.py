"""One step of a pair of Markov chains, for every pair of codes: two matrix products.

Messages are natural logs over all pairs ``K0 K1``, the largest being 0. A step forward is
``log(A0' exp(message) A1)``, one backward ``log(A0 exp(message) A1')`` with the transition
probabilities ``A``. Computed as they stand the products lose what underflows, and where prior and
likelihood disagree that may be all that the other frames allow.

Chains that leave nothing impossible bound the loss beforehand. Let ``m`` be the smallest entry of
``A0`` times that of ``A1``. As the largest entry of ``exp(message)`` is 1, no result is below
``m``; and if every entry below ``level`` is taken for 0, with ``level`` no less than the smallest
normal number, no result loses more than ``3 K0 K1 level``. So each step keeps every result to the
relative error ``3 K0 K1 level / m``, whatever the likelihood says, and errors of consecutive steps
add up. The largest level that a sequence can afford follows; where even the smallest normal number
of float32 is too much, steps are made in float64 in the log domain (`CarefulProducts`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

# Relative error of a whole sequence that underflow may cause; float32 rounds worse.
_LOST_SHARE = 1e-6

# Relative error of one result in the log domain beyond which it is summed again, term by term.
_LOST_BY_RESULT = 1e-12

# Terms summed at a time in the log domain: some tens of megabytes.
_REPAIR_TERMS = 1 << 20


class MarkovProducts(ABC):
    """Steps of the two chains.

    Args:
        log_transition: Per source, ``[from, to]``.
    """

    dtype: torch.dtype
    """Of the messages."""

    def __init__(
        self, log_transition: Sequence[Float[Tensor, "_codebook_size _codebook_size"]]
    ) -> None:
        self.log_transition = tuple(table.double() for table in log_transition)

    @abstractmethod
    def forward(self, message: Float[Tensor, "K0 K1"]) -> Float[Tensor, "K0 K1"]:
        """What the filtered codes of a frame predict of the next one's."""

    @abstractmethod
    def backward(self, message: Float[Tensor, "K0 K1"]) -> Float[Tensor, "K0 K1"]:
        """What is known from the next frame on, seen from every pair of the frame before it."""

    @abstractmethod
    def sum_columns(
        self, message: Float[Tensor, "K0 K1"], codes: Int64[Tensor, " draws"]
    ) -> Float64[Tensor, "draws K0"]:
        """``log sum_j exp(message_ij) A1[j, code]`` for the next frame's codes of source 1."""


def markov_products(
    log_transition: Sequence[Float[Tensor, "_codebook_size _codebook_size"]], n_frames: int
) -> MarkovProducts:
    """The fastest way that is exact for sequences of ``n_frames``."""
    n_pairs, log_smallest = 1, 0.0
    for table in log_transition:
        n_pairs *= len(table)
        log_smallest += float(table.min())
    smallest = torch.tensor(log_smallest, dtype=torch.float64).exp()
    # A frame takes part in one step forward, one backward and one product of the two.
    level = float(_LOST_SHARE * smallest / (3 * n_pairs * 3 * n_frames))
    if level < torch.finfo(torch.float32).tiny:
        return CarefulProducts(log_transition)
    return ScaledProducts(log_transition, level)


class ScaledProducts(MarkovProducts):
    """Products of float32 probabilities, for chains in which every transition is possible.

    Args:
        log_transition: Per source, ``[from, to]``.
        level: Probability, relative to a message's largest, below which entries are dropped;
            dropping them early also keeps denormal numbers, which are slow, out of the products.
    """

    dtype = torch.float32

    def __init__(
        self,
        log_transition: Sequence[Float[Tensor, "_codebook_size _codebook_size"]],
        level: float,
    ) -> None:
        super().__init__(log_transition)
        self._first, self._second = (table.exp().float() for table in self.log_transition)
        self._level = level

    def forward(self, message: Float[Tensor, "K0 K1"]) -> Float[Tensor, "K0 K1"]:
        return (self._first.T @ self._weights(message) @ self._second).log_()

    def backward(self, message: Float[Tensor, "K0 K1"]) -> Float[Tensor, "K0 K1"]:
        return (self._first @ self._weights(message) @ self._second.T).log_()

    def sum_columns(
        self, message: Float[Tensor, "K0 K1"], codes: Int64[Tensor, " draws"]
    ) -> Float64[Tensor, "draws K0"]:
        return (self._weights(message) @ self._second[:, codes]).T.double().log_()

    def _weights(self, message: Tensor) -> Tensor:
        return torch.threshold_(message.exp(), self._level, 0.0)


class CarefulProducts(MarkovProducts):
    """Steps in the log domain in float64, for any chains: several times slower."""

    dtype = torch.float64

    def forward(self, message: Float[Tensor, "K0 K1"]) -> Float[Tensor, "K0 K1"]:
        first, second = self.log_transition
        return log_product(log_product(message, second).T, first).T

    def backward(self, message: Float[Tensor, "K0 K1"]) -> Float[Tensor, "K0 K1"]:
        first, second = self.log_transition
        return log_product(log_product(message, second.T).T, first.T).T

    def sum_columns(
        self, message: Float[Tensor, "K0 K1"], codes: Int64[Tensor, " draws"]
    ) -> Float64[Tensor, "draws K0"]:
        return log_product(message, self.log_transition[1][:, codes]).T


def log_product(
    left: Float64[Tensor, "rows inner"], right: Float64[Tensor, "inner columns"]
) -> Float64[Tensor, "rows columns"]:
    """``log(exp(left) @ exp(right))``, every entry with a small relative error.

    The product is made relative to the largest entry of each row of ``left``. A result that
    underflow may have changed is summed again, term by term.

    Args:
        left: May hold -inf.
        right: At most 0; may hold -inf.
    """
    scale = left.amax(1, keepdim=True).nan_to_num(neginf=0.0)
    values = (left - scale).exp() @ right.exp()
    result = values.log() + scale
    tiny = torch.finfo(torch.float64).tiny
    doubtful = values < 3 * left.shape[1] * tiny / _LOST_BY_RESULT
    if bool(doubtful.any()):
        # Most often there is nothing to sum: transitions that are impossible.
        terms = (left > -torch.inf).double() @ (right > -torch.inf).double()
        rows, columns = (doubtful & (terms > 0)).nonzero(as_tuple=True)
        step = max(1, _REPAIR_TERMS // left.shape[1])
        for i, k in zip(torch.split(rows, step), torch.split(columns, step), strict=True):
            result[i, k] = (left[i] + right.T[k]).logsumexp(1)
    return result
