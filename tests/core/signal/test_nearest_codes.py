"""Codes are those of an exhaustive search."""

import pytest
import torch
from torch import Tensor

from lqsep.core.signal import nearest_codes as module
from lqsep.core.signal.nearest_codes import nearest_codes


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("as_reference", [False, True])
def test_the_nearest_by_definition(as_reference: bool) -> None:
    vectors, codebook = drawn(40_000, 5), drawn(7, 5, seed=1)
    codes, distances = nearest_codes(vectors, codebook, as_reference=as_reference)
    expected = torch.cdist(vectors.double(), codebook.double()).square()
    # Float32 rounding of squares of up to a hundred.
    torch.testing.assert_close(distances.double(), expected.min(1).values, rtol=0, atol=1e-4)
    assert float((codes == expected.argmin(1)).float().mean()) > 0.9999


@pytest.mark.parametrize("as_reference", [False, True])
def test_parts_are_as_the_whole(monkeypatch: pytest.MonkeyPatch, as_reference: bool) -> None:
    vectors, codebook = drawn(30, 3), drawn(5, 3, seed=1)
    whole = nearest_codes(vectors, codebook, as_reference=as_reference)
    monkeypatch.setattr(module, "_VECTORS", 7)
    parts = nearest_codes(vectors, codebook, as_reference=as_reference)
    assert torch.equal(whole[0], parts[0]) and torch.equal(whole[1], parts[1])


@pytest.mark.parametrize("as_reference", [False, True])
def test_the_first_of_equally_near_ones(as_reference: bool) -> None:
    codebook = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-3.0, 0.0]])
    codes, distances = nearest_codes(vectors, codebook, as_reference=as_reference)
    assert codes.tolist() == [0, 0, 1]
    assert distances.tolist() == [1.0, 0.0, 4.0]


def test_far_from_the_origin_codes_are_still_told_apart() -> None:
    """The square of the vector, 10^8 here, would round their difference away."""
    codebook = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    vectors = torch.tensor([[1e4, 0.6], [1e4, 0.4]])
    assert nearest_codes(vectors, codebook)[0].tolist() == [1, 0]
    # As the reference compares them, both are as near: the first one it is.
    assert nearest_codes(vectors, codebook, as_reference=True)[0].tolist() == [0, 0]


@pytest.mark.parametrize("as_reference", [False, True])
def test_no_distance_is_negative(as_reference: bool) -> None:
    codebook = 100 * drawn(50, 20)
    codes, distances = nearest_codes(codebook, codebook, as_reference=as_reference)
    assert codes.tolist() == list(range(50))
    # Squares are about 2 * 10^5, float32 has 24 bits.
    assert 0 <= float(distances.min()) and float(distances.max()) < 0.5


def test_no_vectors() -> None:
    codes, distances = nearest_codes(torch.zeros(0, 3), drawn(5, 3))
    assert codes.shape == distances.shape == (0,) and codes.dtype == torch.int64
