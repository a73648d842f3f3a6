"""Smoothing as a textbook has it: one chain whose states are the pairs, sums in logs.

`lqsep.core.inference.smoothing.forward_backward` computes the same in a fraction of the time.
Nothing here is shared with it.

Reference: Rabiner 1989, "A tutorial on hidden Markov models", Proceedings of the IEEE 77(2),
section III.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from lqsep.core.inference.state import MarkovPosterior


def textbook_smoother(markov: MarkovPosterior) -> tuple[float, Float64[Tensor, "frames K0 K1"]]:
    """Log evidence, and the probability of every pair at every frame given all frames."""
    first, second = (table.double() for table in markov.log_transition)
    n_pairs = len(first) * len(second)
    log_transition = (first[:, None, :, None] + second[None, :, None]).reshape(n_pairs, n_pairs)
    first, second = (table.double() for table in markov.log_initial)
    values = markov.log_likelihood(0, markov.n_frames).double()
    log_likelihood = values.flatten(1)

    forward = [(first[:, None] + second).flatten() + log_likelihood[0]]
    for frame in log_likelihood[1:]:
        forward.append((forward[-1][:, None] + log_transition).logsumexp(0) + frame)
    backward = [torch.zeros_like(forward[0])]
    for frame in log_likelihood[1:].flip(0):
        backward.append((log_transition + frame + backward[-1]).logsumexp(1))

    joint = torch.stack(forward) + torch.stack(backward[::-1])
    return float(forward[-1].logsumexp(0)), joint.softmax(1).view_as(values)
