"""One step of a pair of Markov chains, for every pair of codes: two matrix products.

A message holds a value for every pair ``K0 K1``. Going forward it is what the frames so far say of
the present pair, ``alpha_t ~ L_t * (A0' alpha_{t-1} A1)``, going backward what the frames after it
say, ``beta_t ~ A0 (L_{t+1} * beta_{t+1}) A1'``, with the transition probabilities ``A`` and the
frame's likelihood ``L``. Computed as they stand the products lose what underflows, and where prior
and likelihood disagree that may be all that the other frames allow.

Chains that leave nothing impossible bound the loss. Let ``m`` be the smallest entry of ``A0`` times
that of ``A1``; ``alpha`` sums to 1, ``L_{t+1} * beta_{t+1}`` and ``L`` have the largest entry 1.
Then no result of a product is below ``m``, whatever the likelihood says, and:

- Entries below ``level`` may be taken for 0: no result is off by more than ``K0 K1 level``, a share
  of ``K0 K1 level / m``.
- Likelihoods below ``faint`` may be taken for ``faint`` where the message is then divided by
  ``sure`` or more: what that adds to it sums to ``faint / sure`` at most, for the next results a
  share of ``faint / (sure m)``. Frames that contradict what was expected of them, for which the
  divisor is smaller, are computed in logs.

Over a sequence the shares add up, so that it is known beforehand whether it can afford them.
`ScaledSteps` works so, in float32. Where it cannot, or chains exclude something, `CarefulSteps`
does the same in float64 in the log domain.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

# Relative error of a whole sequence that underflow may cause; float32 rounds worse.
LOST_SHARE = 1e-6

# Log of the smallest likelihood, relative to the frame's largest: exponentials below are slow.
_LOG_FAINT = -85.0

# What a frame's message is divided by at least, unless it is computed in logs.
_SURE = 1e-6

# Relative error of one result in the log domain beyond which it is summed again, term by term.
_LOST_BY_RESULT = 1e-12

# Terms summed at a time in the log domain: some tens of megabytes.
_REPAIR_TERMS = 1 << 20

Exact = Callable[[], Float64[Tensor, "K0 K1"]]
"""Gives a frame's log-likelihoods relative to its largest."""


class MarkovSteps(ABC):
    """Steps of the two chains. Messages and likelihoods are in a form of their own.

    Args:
        log_transition: Per source, ``[from, to]``.
    """

    dtype: torch.dtype
    """Of messages and likelihoods."""

    def __init__(
        self, log_transition: Sequence[Float[Tensor, "_codebook_size _codebook_size"]]
    ) -> None:
        self.log_transition = tuple(table.double() for table in log_transition)

    @abstractmethod
    def likelihoods(
        self, values: Float[Tensor, "frames K0 K1"], out: Float[Tensor, "frames K0 K1"]
    ) -> Float64[Tensor, " frames"]:
        """Writes log-likelihoods relative to each frame's largest; gives the largest."""

    @abstractmethod
    def first(
        self,
        log_initial: Float64[Tensor, "K0 K1"],
        out: Float[Tensor, "K0 K1"],
        exact: Exact,
    ) -> Float64[Tensor, ""]:
        """As `filtered`, of the first frame, about which ``log_initial`` is known."""

    @abstractmethod
    def forward(self, message: Float[Tensor, "K0 K1"]) -> Float[Tensor, "K0 K1"]:
        """What the message of a frame predicts of the next one's codes."""

    @abstractmethod
    def filtered(
        self,
        predicted: Float[Tensor, "K0 K1"],
        likelihood: Float[Tensor, "K0 K1"],
        out: Float[Tensor, "K0 K1"],
        exact: Exact,
    ) -> Float64[Tensor, ""]:
        """Writes the frame's message, ``p(codes | frames so far)``; gives the log of its scale.

        That is ``log p(frame | frames before it)``, less the frame's largest log-likelihood; -inf
        if nothing is possible.
        """

    @abstractmethod
    def backward(
        self,
        future: Float[Tensor, "K0 K1"] | None,
        likelihood: Float[Tensor, "K0 K1"],
        exact: Exact,
    ) -> Float[Tensor, "K0 K1"]:
        """What this frame and those after it say of the codes before it.

        Args:
            future: What the frames after this one say of its codes; None after the last.
            likelihood: Of this frame.
            exact: The same, see `Exact`.
        """

    @abstractmethod
    def marginals(
        self, message: Float[Tensor, "K0 K1"], future: Float[Tensor, "K0 K1"] | None
    ) -> tuple[Float[Tensor, " K0"], Float[Tensor, " K1"]]:
        """Distribution of each source's code given all frames."""

    @abstractmethod
    def rows(
        self, message: Float[Tensor, "K0 K1"], following: Int64[Tensor, "sources draws"] | None
    ) -> Float[Tensor, "draws K0"]:
        """Weights of source 0's codes given the frames so far and the codes that follow.

        One row for all draws where nothing follows.
        """

    @abstractmethod
    def columns(
        self,
        message: Float[Tensor, "K0 K1"],
        codes: Int64[Tensor, " draws"],
        following: Int64[Tensor, "sources draws"] | None,
    ) -> Float[Tensor, "draws K1"]:
        """Weights of source 1's codes, given also those of source 0."""

    @abstractmethod
    def log_likelihood(
        self,
        likelihood: Float[Tensor, "K0 K1"],
        codes: Int64[Tensor, "sources draws"],
        exact: Exact,
    ) -> Float64[Tensor, " draws"]:
        """Of chosen pairs, relative to the frame's largest."""


def markov_steps(
    log_transition: Sequence[Float[Tensor, "_codebook_size _codebook_size"]], n_frames: int
) -> MarkovSteps:
    """The fastest way that is exact for sequences of ``n_frames``."""
    n_pairs, log_smallest = 1, 0.0
    for table in log_transition:
        n_pairs *= len(table)
        log_smallest += float(table.min())
    smallest = math.exp(log_smallest)
    # A frame takes part in one step forward, one backward and one product of the two.
    affordable = LOST_SHARE / 2 * smallest / (3 * n_frames)
    level = affordable / n_pairs
    if level < torch.finfo(torch.float32).tiny or affordable < math.exp(_LOG_FAINT) / _SURE:
        return CarefulSteps(log_transition)
    return ScaledSteps(log_transition, level)


class ScaledSteps(MarkovSteps):
    """Probabilities in float32, for chains in which every transition is possible.

    Args:
        log_transition: Per source, ``[from, to]``.
        level: Probability below which entries of messages are dropped; dropping them early also
            keeps denormal numbers, which are slow, out of the products.
    """

    dtype = torch.float32

    def __init__(
        self,
        log_transition: Sequence[Float[Tensor, "_codebook_size _codebook_size"]],
        level: float,
    ) -> None:
        super().__init__(log_transition)
        first, second = (table.exp().float() for table in self.log_transition)
        self._first, self._second = first, second
        self._first_to, self._second_to = first.T.contiguous(), second.T.contiguous()
        self._level = level

    def likelihoods(
        self, values: Float[Tensor, "frames K0 K1"], out: Float[Tensor, "frames K0 K1"]
    ) -> Float64[Tensor, " frames"]:
        upper, lowest = values.amax((1, 2)), values.amin((1, 2))
        peak = upper.nan_to_num(neginf=0.0)[:, None, None]
        if values.dtype == out.dtype:
            torch.sub(values, peak, out=out)
        else:  # In the precision of the values: differences of large ones are small.
            out.copy_(values - peak)
        out.clamp_(min=_LOG_FAINT).exp_()
        if bool((lowest == -torch.inf).any()):
            out.masked_fill_(values == -torch.inf, 0.0)
        return upper.double()

    def first(
        self,
        log_initial: Float64[Tensor, "K0 K1"],
        out: Float[Tensor, "K0 K1"],
        exact: Exact,
    ) -> Float64[Tensor, ""]:
        joint = log_initial + exact()
        scale = joint.flatten().logsumexp(0)
        self._from_logs(joint - scale.nan_to_num(neginf=0.0), out)
        return scale

    def forward(self, message: Float[Tensor, "K0 K1"]) -> Float[Tensor, "K0 K1"]:
        return self._first_to @ message @ self._second

    def filtered(
        self,
        predicted: Float[Tensor, "K0 K1"],
        likelihood: Float[Tensor, "K0 K1"],
        out: Float[Tensor, "K0 K1"],
        exact: Exact,
    ) -> Float64[Tensor, ""]:
        torch.mul(predicted, likelihood, out=out)
        scale = out.sum()
        if float(scale) < _SURE:
            return self.first(predicted.double().log(), out, exact)
        torch.threshold_(out.div_(scale), self._level, 0.0)
        return scale.double().log()

    def backward(
        self,
        future: Float[Tensor, "K0 K1"] | None,
        likelihood: Float[Tensor, "K0 K1"],
        exact: Exact,
    ) -> Float[Tensor, "K0 K1"]:
        joint = likelihood.clone() if future is None else future * likelihood
        scale = joint.amax()
        if float(scale) < _SURE and future is not None:
            log_joint = future.double().log() + exact()
            self._from_logs(log_joint - log_joint.amax(), joint)
        else:
            torch.threshold_(joint.div_(scale), self._level, 0.0)
        return self._first @ joint @ self._second_to

    def marginals(
        self, message: Float[Tensor, "K0 K1"], future: Float[Tensor, "K0 K1"] | None
    ) -> tuple[Float[Tensor, " K0"], Float[Tensor, " K1"]]:
        joint = message if future is None else message * future
        first, second = joint.sum(1), joint.sum(0)
        return first / first.sum(), second / second.sum()

    def rows(
        self, message: Float[Tensor, "K0 K1"], following: Int64[Tensor, "sources draws"] | None
    ) -> Float[Tensor, "draws K0"]:
        if following is None:
            return message.sum(1, keepdim=True).T
        return (self._second_to[following[1]] @ message.T) * self._first_to[following[0]]

    def columns(
        self,
        message: Float[Tensor, "K0 K1"],
        codes: Int64[Tensor, " draws"],
        following: Int64[Tensor, "sources draws"] | None,
    ) -> Float[Tensor, "draws K1"]:
        weight = message[codes]
        return weight if following is None else weight * self._second_to[following[1]]

    def log_likelihood(
        self,
        likelihood: Float[Tensor, "K0 K1"],
        codes: Int64[Tensor, "sources draws"],
        exact: Exact,
    ) -> Float64[Tensor, " draws"]:
        values = likelihood[codes[0], codes[1]].double().log()
        # Faint ones may be anything below, and are drawn where nothing else is possible.
        if bool((values < _LOG_FAINT + 1).any()):
            return exact()[codes[0], codes[1]]
        return values

    def _from_logs(self, log_values: Float64[Tensor, "K0 K1"], out: Float[Tensor, "K0 K1"]) -> None:
        torch.threshold_(out.copy_(log_values.exp()), self._level, 0.0)


class CarefulSteps(MarkovSteps):
    """Natural logs in float64, for any chains: several times slower."""

    dtype = torch.float64

    def likelihoods(
        self, values: Float[Tensor, "frames K0 K1"], out: Float[Tensor, "frames K0 K1"]
    ) -> Float64[Tensor, " frames"]:
        out.copy_(values)
        upper = out.amax((1, 2))
        out -= upper.nan_to_num(neginf=0.0)[:, None, None]
        return upper

    def first(
        self,
        log_initial: Float64[Tensor, "K0 K1"],
        out: Float[Tensor, "K0 K1"],
        exact: Exact,
    ) -> Float64[Tensor, ""]:
        return self.filtered(log_initial, exact(), out, exact)

    def forward(self, message: Float[Tensor, "K0 K1"]) -> Float[Tensor, "K0 K1"]:
        first, second = self.log_transition
        return log_product(log_product(message, second).T, first).T

    def filtered(
        self,
        predicted: Float[Tensor, "K0 K1"],
        likelihood: Float[Tensor, "K0 K1"],
        out: Float[Tensor, "K0 K1"],
        exact: Exact,
    ) -> Float64[Tensor, ""]:
        torch.add(predicted, likelihood, out=out)
        scale = out.flatten().logsumexp(0)
        out -= scale.nan_to_num(neginf=0.0)
        return scale

    def backward(
        self,
        future: Float[Tensor, "K0 K1"] | None,
        likelihood: Float[Tensor, "K0 K1"],
        exact: Exact,
    ) -> Float[Tensor, "K0 K1"]:
        first, second = self.log_transition
        joint = likelihood if future is None else future + likelihood
        joint = joint - joint.amax().nan_to_num(neginf=0.0)
        return log_product(log_product(joint, second.T).T, first.T).T

    def marginals(
        self, message: Float[Tensor, "K0 K1"], future: Float[Tensor, "K0 K1"] | None
    ) -> tuple[Float[Tensor, " K0"], Float[Tensor, " K1"]]:
        joint = message if future is None else message + future
        weight = (joint - joint.amax()).exp_()
        first, second = weight.sum(1), weight.sum(0)
        return first / first.sum(), second / second.sum()

    def rows(
        self, message: Float[Tensor, "K0 K1"], following: Int64[Tensor, "sources draws"] | None
    ) -> Float[Tensor, "draws K0"]:
        if following is None:
            return _weights(message.logsumexp(1)[None])
        first, second = self.log_transition
        sums = log_product(message, second[:, following[1]]).T
        return _weights(sums + first.T[following[0]])

    def columns(
        self,
        message: Float[Tensor, "K0 K1"],
        codes: Int64[Tensor, " draws"],
        following: Int64[Tensor, "sources draws"] | None,
    ) -> Float[Tensor, "draws K1"]:
        chosen = message[codes]
        if following is not None:
            chosen = chosen + self.log_transition[1].T[following[1]]
        return _weights(chosen)

    def log_likelihood(
        self,
        likelihood: Float[Tensor, "K0 K1"],
        codes: Int64[Tensor, "sources draws"],
        exact: Exact,
    ) -> Float64[Tensor, " draws"]:
        return likelihood[codes[0], codes[1]]


def _weights(log_weight: Float64[Tensor, "rows codes"]) -> Float64[Tensor, "rows codes"]:
    return (log_weight - log_weight.amax(1, keepdim=True)).exp_()


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
