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
`Scaled` arithmetic works so, in float32. Where it cannot, or chains exclude something, `Logs` do
the same in float64 in the log domain. The steps are written once for both; what they compute stands
in `lqsep.testing.smoothing` as a textbook has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.core.inference.frame_distribution import pick_by_weight

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

Values = Float[Tensor, "..."]
"""Probabilities in the form of an arithmetic."""

Pairs = Float[Tensor, "K0 K1"]
"""Values of one frame."""

Codes = Int64[Tensor, "sources draws"]

Tables = Sequence[Float[Tensor, "_codebook_size _codebook_size"]]
"""Per source, log-probabilities ``[from, to]``."""


class Scaled:
    """Values are probabilities in float32, for chains in which every transition is possible.

    Args:
        level: Probability below which entries of messages are dropped; dropping them early also
            keeps denormal numbers, which are slow, out of the products.
    """

    dtype = torch.float32
    log_faint = _LOG_FAINT
    """Values of about this log may stand for anything smaller."""

    def __init__(self, level: float) -> None:
        self.level = level

    def values(self, logs: Float64[Tensor, ...]) -> Values:
        return torch.threshold_(logs.exp().float(), self.level, 0.0)

    def logs(self, values: Values) -> Float64[Tensor, ...]:
        return values.double().log()

    def relative(self, logs: Values, peak: Tensor, out: Values) -> None:
        """Writes the values of ``logs - peak``, which are at most 1."""
        if logs.dtype == out.dtype:
            torch.sub(logs, peak, out=out)
        else:  # In the precision of the logs: differences of large ones are small.
            out.copy_(logs - peak)
        out.clamp_(min=_LOG_FAINT).exp_()
        if float(logs.amin()) == -math.inf:
            out.masked_fill_(logs == -math.inf, 0.0)

    def times(self, left: Values, right: Values, out: Values | None = None) -> Values:
        return torch.mul(left, right, out=out)

    def sums(self, values: Pairs) -> Float[Tensor, " K0"]:
        return values.sum(1)

    def product(self, left: Values, right: Values) -> Values:
        """Matrix product; ``right`` are probabilities."""
        return left @ right

    def between(self, left: Values, values: Pairs, right: Values) -> Pairs:
        """``left @ values @ right``; left and right are probabilities."""
        return left @ values @ right

    def normalise(self, values: Pairs, *, largest: bool) -> Float64[Tensor, ""] | None:
        """Divides by the largest or by the sum, in place; gives its log, None if unsure of it."""
        scale = values.amax() if largest else values.sum()
        if float(scale) < _SURE:
            return None
        torch.threshold_(values.div_(scale), self.level, 0.0)
        return scale.double().log()

    def weights(self, values: Float[Tensor, "rows codes"]) -> Float[Tensor, "rows codes"]:
        """Numbers in proportion to those that each row stands for."""
        return values


class Logs:
    """As `Scaled`, but values are natural logs in float64, for any chains: several times slower."""

    dtype = torch.float64
    log_faint = -math.inf

    def values(self, logs: Float64[Tensor, ...]) -> Values:
        return logs

    def logs(self, values: Values) -> Float64[Tensor, ...]:
        return values

    def relative(self, logs: Values, peak: Tensor, out: Values) -> None:
        out.copy_(logs).sub_(peak)

    def times(self, left: Values, right: Values, out: Values | None = None) -> Values:
        return torch.add(left, right, out=out)

    def sums(self, values: Pairs) -> Float[Tensor, " K0"]:
        return values.logsumexp(1)

    def product(self, left: Values, right: Values) -> Values:
        return log_product(left, right)

    def between(self, left: Values, values: Pairs, right: Values) -> Pairs:
        return log_product(log_product(values, right).T, left.T).T

    def normalise(self, values: Pairs, *, largest: bool) -> Float64[Tensor, ""] | None:
        scale = values.amax() if largest else values.flatten().logsumexp(0)
        values -= scale.nan_to_num(neginf=0.0)
        return scale

    def weights(self, values: Float[Tensor, "rows codes"]) -> Float[Tensor, "rows codes"]:
        return (values - values.amax(1, keepdim=True)).exp_()


class MarkovSteps:
    """Steps of the two chains; messages and likelihoods are values of the arithmetic."""

    def __init__(self, log_transition: Tables, arithmetic: Scaled | Logs) -> None:
        self.log_transition = tuple(table.double() for table in log_transition)
        self.arithmetic = arithmetic
        self._first, self._second = (arithmetic.values(table) for table in self.log_transition)
        self._first_to, self._second_to = self._first.T.contiguous(), self._second.T.contiguous()

    def likelihoods(
        self, logs: Float[Tensor, "frames K0 K1"], out: Float[Tensor, "frames K0 K1"]
    ) -> Float64[Tensor, " frames"]:
        """Writes likelihoods relative to each frame's largest; gives the log of the largest."""
        upper = logs.amax((1, 2))
        self.arithmetic.relative(logs, upper.nan_to_num(neginf=0.0)[:, None, None], out)
        return upper.double()

    def first(
        self, log_initial: Float64[Tensor, "K0 K1"], out: Pairs, exact: Exact
    ) -> Float64[Tensor, ""]:
        """As `filtered`, of the first frame, about which ``log_initial`` is known."""
        joint = log_initial + exact()
        log_scale = joint.flatten().logsumexp(0)
        out.copy_(self.arithmetic.values(joint - log_scale.nan_to_num(neginf=0.0)))
        return log_scale

    def forward(self, message: Pairs) -> Pairs:
        """What the message of a frame predicts of the next one's codes."""
        return self.arithmetic.between(self._first_to, message, self._second)

    def filtered(
        self, predicted: Pairs, likelihood: Pairs, out: Pairs, exact: Exact
    ) -> Float64[Tensor, ""]:
        """Writes the frame's message, ``p(codes | frames so far)``; gives the log of its scale.

        That is ``log p(frame | frames before it)``, less the frame's largest log-likelihood; -inf
        if nothing is possible.
        """
        self.arithmetic.times(predicted, likelihood, out)
        log_scale = self.arithmetic.normalise(out, largest=False)
        if log_scale is None:
            return self.first(self.arithmetic.logs(predicted), out, exact)
        return log_scale

    def backward(self, future: Pairs | None, likelihood: Pairs, exact: Exact) -> Pairs:
        """What this frame and those after it say of the codes before it.

        Args:
            future: What the frames after this one say of its codes; None after the last.
            likelihood: Of this frame.
            exact: The same, see `Exact`.
        """
        joint = likelihood.clone() if future is None else self.arithmetic.times(future, likelihood)
        if self.arithmetic.normalise(joint, largest=True) is None and future is not None:
            log_joint = self.arithmetic.logs(future) + exact()
            joint = self.arithmetic.values(log_joint - log_joint.amax())
        return self.arithmetic.between(self._first, joint, self._second_to)

    def marginals(
        self, message: Pairs, future: Pairs | None
    ) -> tuple[Float[Tensor, " K0"], Float[Tensor, " K1"]]:
        """Distribution of each source's code given all frames."""
        joint = message if future is None else self.arithmetic.times(message, future)
        weight = self.arithmetic.weights(joint.flatten()[None]).view_as(joint)
        first, second = weight.sum(1), weight.sum(0)
        return first / first.sum(), second / second.sum()

    def draw(
        self, message: Pairs, uniform: Float64[Tensor, "draws 2"], following: Codes | None
    ) -> Codes:
        """Pairs given the frames so far and the pairs of the next frame that follow, if any."""
        if following is None:
            rows = self.arithmetic.sums(message)[None].expand(len(uniform), -1)
        else:
            sums = self.arithmetic.product(message, self._second_to[following[1]].T).T
            rows = self.arithmetic.times(sums, self._first_to[following[0]])
        i = pick_by_weight(self.arithmetic.weights(rows), uniform[:, :1])[:, 0]
        columns = message[i]
        if following is not None:
            columns = self.arithmetic.times(columns, self._second_to[following[1]])
        j = pick_by_weight(self.arithmetic.weights(columns), uniform[:, 1:])[:, 0]
        return torch.stack([i, j])

    def log_likelihood(
        self, likelihood: Pairs, codes: Codes, exact: Exact
    ) -> Float64[Tensor, " draws"]:
        """Of chosen pairs, relative to the frame's largest."""
        logs = self.arithmetic.logs(likelihood[codes[0], codes[1]])
        # Faint ones are drawn where nothing else is possible.
        if bool((logs < self.arithmetic.log_faint + 1).any()):
            return exact()[codes[0], codes[1]]
        return logs


def markov_steps(log_transition: Tables, n_frames: int) -> MarkovSteps:
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
        return MarkovSteps(log_transition, Logs())
    return MarkovSteps(log_transition, Scaled(level))


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
