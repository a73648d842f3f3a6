"""Smoothing as a textbook has it: one chain whose states are the pairs, sums in logs.

`lqsep.core.inference.smoothing.forward_backward` computes the same in a fraction of the time.
Nothing here is shared with it.

Reference: Rabiner 1989, "A tutorial on hidden Markov models", Proceedings of the IEEE 77(2),
section III.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from lqsep.core.inference.state import MarkovPosterior
from lqsep.testing.toys import random_posterior


def markov_of(
    log_initial: Sequence[Tensor], log_transition: Sequence[Tensor], values: Tensor
) -> MarkovPosterior:
    """Two chains and the log-likelihood of their pairs, ``frames K0 K1``."""
    return MarkovPosterior(
        len(values),
        tuple(log_initial),
        tuple(log_transition),
        lambda start, stop: values[start:stop].clone(),
    )


def random_markov(
    seed: int = 0, *, n_codes: tuple[int, int] = (5, 7), n_frames: int = 30, scale: float = 1.5
) -> MarkovPosterior:
    """Chains and likelihoods of normally distributed logs; ``scale`` says how pronounced."""
    markov = random_posterior(seed, n_codes=n_codes, n_frames=n_frames, scale=scale).markov()
    assert markov is not None
    return markov


def harsh_markov(seed: int, sharpness: float, spread: float, holes: float) -> MarkovPosterior:
    """Chains of 3 and 4 codes over 15 frames, in which much may be impossible.

    Args:
        seed: Same seed, same chains.
        sharpness: Of the transitions: standard deviation of their logs.
        spread: Of the likelihoods, likewise.
        holes: Share of transitions that are impossible; a third as many pairs of a frame are.
    """
    rng = torch.Generator().manual_seed(seed)
    initial, transition = [], []
    for size in (3, 4):
        logits = torch.randn(size + 1, size, generator=rng, dtype=torch.float64) * sharpness
        kept = torch.rand(logits.shape, generator=rng) >= holes
        kept[:, 0] = True
        table = logits.masked_fill(~kept, -torch.inf).log_softmax(1).float()
        initial.append(table[0])
        transition.append(table[1:])
    values = torch.randn(15, 3, 4, generator=rng, dtype=torch.float64) * spread
    values[torch.rand(values.shape, generator=rng) < holes / 3] = -torch.inf
    return markov_of(initial, transition, values)


def uniform_numbers(
    n_draws: int, n_frames: int, seed: int = 0
) -> Float64[Tensor, "draws frames sources"]:
    """In [0, 1), as draws from a smoothed sequence take them."""
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(n_draws, n_frames, 2, dtype=torch.float64, generator=rng)


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
