"""Calls of priors and bound likelihoods, whose answers are looked at."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.interfaces.calls import ask, pass_name
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.interfaces.likelihood import BoundLikelihood
from lqsep.core.interfaces.prior import Prior, PriorState
from lqsep.core.interfaces.returned import expect, expect_type, wrong


def prior_step(
    prior: Prior, state: PriorState, codes: Int64[Tensor, " rows"] | None, n_rows: int
) -> tuple[Float[Tensor, "rows codebook_size"], PriorState]:
    """`Prior.step`, which gives a table of the prior's own size.

    Raises:
        ComponentError: What it gives is not what the interface has; likewise below.
    """
    method = prior.step
    answer: object = ask(method, state, codes)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise wrong(method, f"gave a {type(answer).__name__}; expected log-probabilities and state")
    table, state = answer
    size = prior.info.codebook_size
    expect(method, "log-probabilities", table, float, rows=n_rows, codes=size)
    return table, state


def transition_matrix(prior: Prior) -> tuple[Tensor, Tensor] | None:
    """`Prior.transition_matrix`, likewise of its own size."""
    method, size = prior.transition_matrix, prior.info.codebook_size
    found = ask(method)
    if found is not None:
        initial, transition = found
        expect(method, "log_initial", initial, float, codes=size)
        expect(method, "log_transition", transition, float, codes=size, following=size)
    return found


def frame_likelihood(
    bound: BoundLikelihood, frame: int, history: Int64[Tensor, "rows sources frames"]
) -> FrameLikelihood:
    """`BoundLikelihood.at`, with one row or those of the history."""
    method = bound.at
    found: FrameLikelihood = expect_type(method, ask(method, frame, history), FrameLikelihood)
    if found.n_rows not in {1, len(history)}:
        raise wrong(method, f"gave {found.n_rows} rows; expected 1 or {len(history)}")
    pass_name(bound, found)
    return found


def listed_pairs(
    bound: BoundLikelihood, start: int, stop: int, priors: Sequence[Prior]
) -> Float[Tensor, "frames K0 K1"]:
    """`BoundLikelihood.frames` where it has them, of the codes of two priors."""
    method = bound.frames
    found = ask(method, start, stop)
    first, second = (prior.info.codebook_size for prior in priors)
    expect(method, "log-likelihood", found, float, frames=stop - start, rows=first, columns=second)
    assert found is not None
    return found
