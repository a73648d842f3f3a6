"""Clusters of points by their means."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.signal.nearest_codes import nearest_codes

# Seeds are drawn among this many points per cluster: more take time and change nothing.
_SEEDING_POINTS = 64


def kmeans(
    points: Float[Tensor, "points bands"],
    n_clusters: int,
    *,
    fixed: Float[Tensor, "fixed bands"],
    iterations: int,
    generator: torch.Generator,
    on_round: Callable[[int, float], None] | None = None,
) -> Float[Tensor, "clusters bands"]:
    """Centres of clusters, ``fixed`` ones first, which stay where they are.

    Clusters that no point is nearest to are moved to the points that lie farthest from their
    centres, as long as any lies off its own. The same generator state gives the same centres.

    Args:
        points: On the CPU, at least one.
        n_clusters: Fixed ones included.
        fixed: Centres that are given.
        iterations: Rounds at most; fewer when nothing moves any more.
        generator: Draws the seeds.
        on_round: Told the round, from 1, and the mean squared distance before its move.

    References: Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding",
    SODA (the seeds); Lloyd 1982, "Least squares quantization in PCM", IEEE IT 28(2).
    """
    centres = _seeds(points, n_clusters, fixed, generator)
    previous = None
    for number in range(1, iterations + 1):
        nearest, distance = nearest_codes(points, centres)
        if on_round is not None:
            on_round(number, float(distance.double().mean()))
        if previous is not None and torch.equal(nearest, previous):
            break
        centres = _moved(points, centres, nearest, distance)
        centres[: len(fixed)] = fixed
        previous = nearest
    return centres


def _seeds(
    points: Tensor, n_clusters: int, fixed: Tensor, generator: torch.Generator
) -> Float[Tensor, "clusters bands"]:
    """Each next seed is a point drawn by its squared distance to those before it."""
    chosen = torch.randperm(len(points), generator=generator)[: _SEEDING_POINTS * n_clusters]
    points = points[chosen]
    seeds = list(fixed)
    if not seeds:
        seeds.append(points[0])
    distance = nearest_codes(points, torch.stack(seeds))[1].double()
    while len(seeds) < n_clusters:
        cumulative = distance.cumsum(0)
        drawn = torch.rand((), generator=generator, dtype=torch.float64) * cumulative[-1]
        index = int(torch.searchsorted(cumulative, drawn, right=True).clamp(max=len(points) - 1))
        seeds.append(points[index])
        distance = torch.minimum(distance, (points - seeds[-1]).square().sum(1).double())
    return torch.stack(seeds)


def _moved(
    points: Tensor, centres: Tensor, nearest: Tensor, distance: Tensor
) -> Float[Tensor, "clusters bands"]:
    """Means of the clusters; empty ones move to far points."""
    counts = torch.bincount(nearest, minlength=len(centres))
    sums = torch.zeros(centres.shape, dtype=torch.float64)
    sums.index_add_(0, nearest, points.double())
    means = (sums / counts.clamp(min=1)[:, None]).to(points)
    empty = (counts == 0).nonzero()[:, 0]
    means[empty] = centres[empty]
    far = distance.topk(min(len(empty), len(points))).indices
    far = far[distance[far] > 0]
    means[empty[: len(far)]] = points[far]
    return means
