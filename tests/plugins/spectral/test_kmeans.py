"""Clusters of points by their means."""

import pytest
import torch
from torch import Tensor

from lqsep.core.signal.nearest_codes import nearest_codes
from lqsep.plugins.spectral.kmeans import kmeans

NONE = torch.zeros(0, 2)


def blobs(n_blobs: int = 6, per_blob: int = 50) -> tuple[Tensor, Tensor]:
    """Points around well separated middles, and those."""
    generator = torch.Generator().manual_seed(1)
    middles = 10 * torch.stack([torch.arange(n_blobs), torch.arange(n_blobs) ** 2], 1).float()
    points = middles[:, None] + 0.1 * torch.randn(n_blobs, per_blob, 2, generator=generator)
    shuffled = torch.randperm(n_blobs * per_blob, generator=generator)
    return points.flatten(0, 1)[shuffled], middles


def run(
    points: Tensor, n_clusters: int, seed: int = 0, fixed: Tensor = NONE, **more: int
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    settings = {"iterations": 20, **more}
    return kmeans(points, n_clusters, fixed=fixed, generator=generator, **settings)


@pytest.mark.parametrize("seed", range(5))
def test_separated_blobs_are_found(seed: int) -> None:
    points, middles = blobs()
    centres = run(points, 6, seed)
    order = centres[:, 0].argsort()
    # 50 points with deviation 0.1: the mean is within 0.1 of the middle.
    torch.testing.assert_close(centres[order], middles, rtol=0, atol=0.1)


def test_the_same_seed_gives_the_same_centres() -> None:
    points = torch.randn(500, 2, generator=torch.Generator().manual_seed(3))
    assert torch.equal(run(points, 9), run(points, 9))
    assert not torch.equal(run(points, 9), run(points, 9, seed=1))


def test_the_distance_never_rises() -> None:
    points = torch.randn(2000, 4, generator=torch.Generator().manual_seed(3))
    seen: list[tuple[int, float]] = []
    kmeans(
        points,
        16,
        fixed=torch.zeros(0, 4),
        iterations=12,
        generator=torch.Generator().manual_seed(0),
        on_round=lambda number, distance: seen.append((number, distance)),
    )
    rounds, distances = zip(*seen, strict=True)
    assert rounds == tuple(range(1, 13))
    assert all(later <= earlier for earlier, later in zip(distances, distances[1:], strict=False))
    assert distances[-1] < 0.95 * distances[0]


def test_centres_are_the_means_of_their_points() -> None:
    points = torch.randn(300, 2, generator=torch.Generator().manual_seed(3))
    centres = run(points, 5, iterations=200)
    nearest, _ = nearest_codes(points, centres)
    means = torch.stack([points[nearest == code].mean(0) for code in range(5)])
    torch.testing.assert_close(centres, means)


def test_fixed_centres_come_first_and_stay() -> None:
    points, _ = blobs()
    fixed = torch.tensor([[-5.0, -5.0], [25.0, 60.0]])
    centres = run(points, 6, fixed=fixed)
    assert torch.equal(centres[:2], fixed)


def test_empty_clusters_move_to_far_points() -> None:
    points, _ = blobs(3)
    # Nothing is nearest to the second centre: after a round it must serve a blob of its own.
    from lqsep.plugins.spectral.kmeans import _moved

    centres = torch.tensor([[0.0, 0.0], [-500.0, 0.0]])
    nearest, distance = nearest_codes(points, centres)
    moved = _moved(points, centres, nearest, distance)
    assert torch.equal(moved[1], points[distance.argmax()])
    torch.testing.assert_close(moved[0], points.mean(0))


def test_fewer_different_points_than_clusters() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0]]).repeat(20, 1)
    centres = run(points, 4)
    assert centres.shape == (4, 2) and centres.isfinite().all()
    assert float(nearest_codes(points, centres)[1].max()) == 0
