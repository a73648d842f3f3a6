import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lqsep.core.inference.smoothing.markov_steps import (
    LOST_SHARE,
    Logs,
    MarkovSteps,
    Scaled,
    log_product,
    markov_steps,
)
from lqsep.testing.toys import random_markov_prior


def exact_log_product(left, right):
    return (left[:, :, None] + right[None]).logsumexp(1)


def chains(sizes=(5, 7), scale=1.5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [random_markov_prior(size, rng, scale=scale).log_transition for size in sizes]


def random_message(sizes, spread, generator):
    message = torch.randn(sizes, generator=generator, dtype=torch.float64) * spread
    return message - message.max()


def uncertified(tables):
    return MarkovSteps(tables, Scaled(1e-35))


def careful(tables):
    return MarkovSteps(tables, Logs())


def in_logs(steps, values):
    return steps.arithmetic.logs(values)


def in_form(steps, log_values):
    return log_values.exp().float() if isinstance(steps.arithmetic, Scaled) else log_values


@pytest.mark.parametrize("way", [uncertified, careful])
@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_steps_are_sums_over_all_pairs(way, spread):
    tables = chains()
    steps = way(tables)
    m = random_message((5, 7), spread, torch.Generator().manual_seed(1))
    m = m - m.flatten().logsumexp(0)
    message = in_form(steps, m)
    pairs = tables[0].double()[:, None, :, None] + tables[1].double()[None, :, None, :]
    predicted = (m[:, :, None, None] + pairs).flatten(0, 1).logsumexp(0)
    # Float32 products: 1e-6 relative to probabilities, whatever their size.
    found = in_logs(steps, steps.forward(message))
    torch.testing.assert_close(found, predicted, atol=3e-6, rtol=0)

    values = random_message((5, 7), spread, torch.Generator().manual_seed(2))[None] - 3.0
    likelihood = torch.empty(1, 5, 7, dtype=steps.arithmetic.dtype)
    upper = steps.likelihoods(values, likelihood)
    assert float(upper) == pytest.approx(-3.0)
    joint = predicted + values[0]
    exact = partial(torch.sub, values[0], upper)
    out = torch.empty_like(message)
    log_scale = steps.filtered(in_form(steps, predicted), likelihood[0], out, exact)
    expected = float(joint.flatten().logsumexp(0))
    assert float(log_scale + upper) == pytest.approx(expected, abs=3e-6)

    for future in (None, m - m.max()):
        seen = None if future is None else in_form(steps, future)
        back = in_logs(steps, steps.backward(seen, likelihood[0], exact))
        said = values[0] if future is None else values[0] + future
        expected = (said + pairs).flatten(2).logsumexp(2)
        # Relative to each other; their scale is free.
        torch.testing.assert_close(back - back.max(), expected - expected.max(), atol=3e-6, rtol=0)
        together = predicted if future is None else predicted + future
        together = (together - together.flatten().logsumexp(0)).exp()
        marginals = steps.marginals(in_form(steps, predicted), seen)
        for axis, marginal in enumerate(marginals):
            expected = together.sum(1 - axis)
            torch.testing.assert_close(marginal.double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("way", [uncertified, careful])
def test_draws_are_in_proportion(way):
    """A grid of uniform numbers hits every pair as often as its probability says."""
    tables = chains()
    steps = way(tables)
    m = random_message((5, 7), 1.0, torch.Generator().manual_seed(1))
    message = in_form(steps, m - m.flatten().logsumexp(0))
    first, second = (table.double().exp() for table in tables)
    size = 400
    grid = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    uniform = torch.cartesian_prod(grid, grid)
    for after in (None, torch.tensor([4, 6]), torch.tensor([0, 3])):
        joint = m.exp()
        following = None
        if after is not None:
            joint = joint * first[:, after[0], None] * second[:, after[1]]
            following = after[:, None].expand(-1, len(uniform))
        i, j = steps.draw(message, uniform, following)
        counts = torch.bincount(7 * i + j, minlength=35).view(5, 7)
        # Of either number a grid is off by one at each end of what belongs to a code.
        torch.testing.assert_close(
            counts.double() / size**2, joint / joint.sum(), atol=2 / size, rtol=0
        )


@pytest.mark.parametrize("way", [uncertified, careful])
def test_draws_followed_by_different_pairs(way):
    steps = way(chains())
    m = random_message((5, 7), 1.0, torch.Generator().manual_seed(1))
    message = in_form(steps, m - m.flatten().logsumexp(0))
    uniform = torch.rand(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    following = torch.tensor([[4, 0, 0, 1, 3, 2], [0, 6, 6, 5, 1, 1]])
    together = steps.draw(message, uniform, following)
    alone = [steps.draw(message, uniform[n : n + 1], following[:, n : n + 1]) for n in range(6)]
    assert torch.equal(together, torch.cat(alone, 1))


def test_frames_that_contradict_what_was_expected_are_computed_in_logs():
    tables = chains((4, 4), scale=1.0)
    steps = uncertified(tables)
    predicted = torch.full((4, 4), 1e-9)
    predicted[0, 0] = 1.0
    values = torch.full((1, 4, 4), -120.0, dtype=torch.float64)
    values[0, 0, 0], values[0, 1, 1] = -100.0, -90.0
    values[0, 2, 2] = 0.0
    predicted[2, 2] = 1e-30
    likelihood, message = torch.empty(1, 4, 4), torch.empty(4, 4)
    upper = steps.likelihoods(values, likelihood)
    log_scale = steps.filtered(predicted, likelihood[0], message, lambda: values[0])
    joint = predicted.double().log() + values[0]
    expected = joint.flatten().logsumexp(0)
    assert float(log_scale + upper) == pytest.approx(float(expected), abs=1e-6)
    torch.testing.assert_close(message.double(), (joint - expected).exp(), atol=1e-30, rtol=1e-5)
    codes = torch.tensor([[0, 2], [0, 2]])
    found = steps.log_likelihood(likelihood[0], codes, lambda: values[0])
    assert found.tolist() == [-100.0, 0.0]

    back = steps.backward(predicted, likelihood[0], lambda: values[0]).double().log()
    pairs = tables[0].double()[:, None, :, None] + tables[1].double()[None, :, None, :]
    expected = (joint + pairs).flatten(2).logsumexp(2)
    torch.testing.assert_close(back - back.max(), expected - expected.max(), atol=3e-6, rtol=0)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**16), st.sampled_from([1.0, 30.0, 400.0, 3000.0]), st.booleans())
def test_log_product_keeps_every_entry(seed, spread, holes):
    """However far apart the entries are, and where some are impossible."""
    rng = torch.Generator().manual_seed(seed)
    left = random_message((4, 6), spread, rng)
    right = (torch.randn(6, 5, generator=rng, dtype=torch.float64) * spread).log_softmax(1)
    if holes:
        left[torch.rand(4, 6, generator=rng) < 0.5] = -math.inf
        right[torch.rand(6, 5, generator=rng) < 0.5] = -math.inf
    expected = exact_log_product(left, right)
    torch.testing.assert_close(log_product(left, right), expected, atol=1e-11, rtol=1e-13)


def test_log_product_of_nothing():
    found = log_product(torch.full((2, 3), -math.inf).double(), torch.zeros(3, 2).double())
    assert (found == -math.inf).all()


def test_the_way_depends_on_the_smallest_transition():
    tables = chains((256, 256), scale=1.0)
    assert isinstance(markov_steps(tables, 500).arithmetic, Scaled)
    assert isinstance(markov_steps(tables, 20000).arithmetic, Scaled)
    for smallest in (-60.0, -math.inf):
        tables[1][3, 4] = smallest
        assert isinstance(markov_steps(tables, 500).arithmetic, Logs)


def test_the_level_is_what_a_sequence_can_afford():
    """The worst case: all that is dropped leads where the largest entry hardly ever does."""
    smallest, size, n_frames = 1e-10, 4, 10
    table = torch.full((size, size), smallest, dtype=torch.float64)
    table[0, 0] = table[1:, 1] = 1 - (size - 1) * smallest
    tables = [table.log(), table.log()]
    certified = markov_steps(tables, n_frames)
    assert isinstance(certified.arithmetic, Scaled)

    def lost(level):
        joint = torch.full((size, size), 0.99 * level, dtype=torch.float64)
        joint[0, 0] = 1.0
        steps = MarkovSteps(tables, Scaled(level))
        message = torch.empty(size, size)
        steps.filtered(joint.float(), torch.ones(size, size), message, joint.log)
        found = steps.forward(message).double().log()
        return float((careful(tables).forward(joint.log()) - found).max())

    # One of 30 parts of the whole sequence's share, and the rounding of float32 products.
    assert lost(certified.arithmetic.level) < LOST_SHARE / 30 + 1e-6
    assert lost(1e5 * certified.arithmetic.level) > 5e-4
