import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lqsep.core.markov_products import (
    CarefulProducts,
    ScaledProducts,
    log_product,
    markov_products,
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


@pytest.mark.parametrize("way", [lambda tables: ScaledProducts(tables, 1e-35), CarefulProducts])
@pytest.mark.parametrize("spread", [1.0, 60.0])
def test_steps_are_sums_over_all_pairs(way, spread):
    tables = chains()
    products = way(tables)
    message = random_message((5, 7), spread, torch.Generator().manual_seed(1)).to(products.dtype)
    pairs = tables[0].double()[:, None, :, None] + tables[1].double()[None, :, None, :]
    m = message.double()
    expected = (m[:, :, None, None] + pairs).flatten(0, 1).logsumexp(0)
    # Float32 products and logs: 1e-6 relative to probabilities, whatever their size.
    torch.testing.assert_close(products.forward(message).double(), expected, atol=3e-6, rtol=0)
    expected = (m + pairs).flatten(2).logsumexp(2)
    torch.testing.assert_close(products.backward(message).double(), expected, atol=3e-6, rtol=0)
    codes = torch.tensor([0, 6, 6])
    expected = exact_log_product(m, tables[1].double()[:, codes]).T
    found = products.sum_columns(message, codes)
    # Rows that are all far below the message's largest entry may be lost: they weigh nothing.
    kept = expected > -75
    torch.testing.assert_close(found[kept], expected[kept], atol=3e-6, rtol=0)
    assert (found[~kept] < -70).all()


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
    assert isinstance(markov_products(tables, 500), ScaledProducts)
    assert isinstance(markov_products(tables, 20000), ScaledProducts)
    for smallest in (-60.0, -math.inf):
        tables[1][3, 4] = smallest
        assert isinstance(markov_products(tables, 500), CarefulProducts)


def test_the_level_is_what_a_sequence_can_afford():
    """The worst case: all that is dropped leads where the largest entry hardly ever does."""
    smallest, size, n_frames = 1e-12, 4, 10
    table = torch.full((size, size), smallest, dtype=torch.float64)
    table[0, 0] = table[1:, 1] = 1 - (size - 1) * smallest
    tables = [table.log(), table.log()]
    certified = markov_products(tables, n_frames)
    assert isinstance(certified, ScaledProducts)

    def lost(level):
        message = torch.full((size, size), math.log(0.99 * level), dtype=torch.float64)
        message[0, 0] = 0.0
        found = ScaledProducts(tables, level).forward(message.float()).double()
        return float((CarefulProducts(tables).forward(message) - found).max())

    # One of 30 parts of the whole sequence's 1e-6, and the rounding of float32 logs near -55.
    assert lost(certified._level) < 1e-6 / 30 + 4e-6
    assert lost(1e5 * certified._level) > 1e-4
