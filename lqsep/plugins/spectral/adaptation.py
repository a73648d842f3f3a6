"""Equalisers of the sources, fitted to a mixture: one MAP step from the posterior of the codes.

Codes were learnt from recordings other than the mixture's; what differs most is the spectral
balance. Each source gets a log power ``h`` per band that is added to all its codes, with a Gaussian
prior around zero. The step is one of generalised expectation maximisation: with the posterior of
the pairs held fixed, a Gauss-Newton step raises the expected log-likelihood plus the log prior of
the equalisers (Dempster, Laird and Rubin 1977, section 3; Neal and Hinton 1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.plugins.spectral.features import SpectralFeatures
from lqsep.plugins.spectral.pair_model import PairModel

# Pairs of a frame that the step looks at, of the likeliest codes of each source.
_TOP_CODES = 16
_TOP_PAIRS = 24

# Alternating fits of the pairs' posterior to its two marginals.
_FITS = 20

# Frames of pairs that are worked on at a time: 2 MB per tensor at 96 bands.
_BLOCK_FRAMES = 128

# Halvings of a step that does not raise the objective, before it is given up.
_HALVINGS = 6

# Natural log of power per dB.
_DB = math.log(10) / 10


@dataclass(frozen=True)
class EqualiserPrior:
    """Standard deviations of an equaliser's independent parts, in dB.

    Args:
        global_db: Of a level common to all bands.
        smooth_db: Of a curve that changes over ``width_octaves``.
        white_db: Of every band by itself, above 0.
        width_octaves: Distance at which the curve's correlation is ``exp(-1/2)``.
    """

    global_db: float = 4.0
    smooth_db: float = 4.0
    white_db: float = 1.0
    width_octaves: float = 1.0

    def covariance(self, octaves: Float64[Tensor, " bands"]) -> Float64[Tensor, "bands bands"]:
        """In squared natural log of power.

        Args:
            octaves: Where the bands are, log2 of a frequency.
        """
        distance = (octaves[:, None] - octaves) / self.width_octaves
        smooth = self.smooth_db**2 * (distance.square() / -2).exp()
        white = self.white_db**2 * torch.eye(len(octaves), dtype=octaves.dtype).to(octaves.device)
        return _DB**2 * (self.global_db**2 + smooth + white)

    def precision(self, octaves: Float64[Tensor, " bands"]) -> Float64[Tensor, "bands bands"]:
        """Inverse of the covariance."""
        inverse: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(self.covariance(octaves)))
        return inverse


LogLikelihood = Callable[
    [Int64[Tensor, "frames rows"], Int64[Tensor, "frames columns"]],
    Float[Tensor, "frames rows columns"],
]
"""Of the pairs of some codes of every frame, given per source."""


@dataclass(frozen=True)
class TopPairs:
    """The likeliest pairs of every frame, and their posterior, which sums to one."""

    i: Int64[Tensor, "frames pairs"]
    j: Int64[Tensor, "frames pairs"]
    weight: Float64[Tensor, "frames pairs"]


def band_octaves(features: SpectralFeatures) -> Float64[Tensor, " bands"]:
    """Octaves from one bin to the centre of each band; the band of 0 Hz is at half a bin."""
    edges = torch.tensor(features.edges, dtype=torch.float64)
    centre = (edges[:-1] + edges[1:] - 1) / 2
    return centre.clamp_min(0.5).log2()


def top_pairs(
    marginals: tuple[Float[Tensor, "frames K0"], Float[Tensor, "frames K1"]],
    log_likelihood: LogLikelihood,
) -> TopPairs:
    """A joint posterior that has the given marginals, cut to its likeliest pairs.

    The marginals do not say which codes go together; the likelihood does. Among the distributions
    with these marginals this is the one nearest to the likelihood, ``f_i L_ij g_j``, found by
    fitting rows and columns in turn (Sinkhorn 1967). It is the exact posterior where what past and
    future say of the two sources is independent. Multiplying the marginals with the likelihood
    instead would count the frame twice. Codes beyond the 16 likeliest of each source are left out
    before, pairs beyond 24 after.
    """
    rows, columns = (table.topk(min(_TOP_CODES, table.shape[1]), dim=1) for table in marginals)
    i, j = rows.indices, columns.indices
    values = log_likelihood(i, j).double()
    log_rows, log_columns = (
        (part.double() / part.double().sum(1, keepdim=True)).clamp_min(1e-30).log()
        for part in (rows.values, columns.values)
    )
    f = torch.zeros_like(log_rows)
    g = torch.zeros_like(log_columns)
    for _ in range(_FITS):
        f = log_rows - (values + g[:, None]).logsumexp(2)
        g = log_columns - (values + f[:, :, None]).logsumexp(1)
    joint = (values + f[:, :, None] + g[:, None]).flatten(1)
    best = joint.topk(min(_TOP_PAIRS, joint.shape[1]), dim=1)
    n_columns = j.shape[1]
    return TopPairs(
        i.gather(1, best.indices // n_columns),
        j.gather(1, best.indices % n_columns),
        best.values.softmax(1),
    )


def fit_equaliser(
    model: PairModel,
    targets: Float64[Tensor, "frames bands"],
    marginals: tuple[Float[Tensor, "frames K0"], Float[Tensor, "frames K1"]],
    log_likelihood: Callable[[int, int], LogLikelihood],
    *,
    equaliser: Float64[Tensor, "sources bands"],
    temper: float,
    precision: Float64[Tensor, "bands bands"],
) -> Float64[Tensor, "sources bands"]:
    """One step from ``equaliser`` towards the most probable one.

    Args:
        model: The codes without equaliser.
        targets: Log band powers of the mixture.
        marginals: Posterior of each source's codes, met with ``equaliser``.
        log_likelihood: ``(start, stop)`` gives that of some frames' pairs with ``equaliser``.
        equaliser: Where to start.
        temper: Factor of the log-likelihood.
        precision: Of the prior of each source's equaliser.

    Returns:
        The new equaliser: the objective is not lower than before; equal to the old one if no step
        raises it.
    """
    parts = []
    for start in range(0, len(targets), _BLOCK_FRAMES):
        stop = min(start + _BLOCK_FRAMES, len(targets))
        block = (marginals[0][start:stop], marginals[1][start:stop])
        parts.append(top_pairs(block, log_likelihood(start, stop)))
    objective = _Objective(model, targets, parts, temper, precision)
    step = objective.newton_step(equaliser)
    before = objective.value(equaliser)
    for halving in range(_HALVINGS):
        new = equaliser + step * 0.5**halving
        if objective.value(new) > before:
            return new
    return equaliser


def log_prior(
    equaliser: Float64[Tensor, "sources bands"], precision: Float64[Tensor, "bands bands"]
) -> float:
    """Log density of all sources' equalisers, less that of equalisers of zero."""
    return -float((equaliser @ precision * equaliser).sum()) / 2


@dataclass(frozen=True)
class _Objective:
    """Expected log-likelihood of the pairs, tempered, plus the log prior of the equalisers."""

    model: PairModel
    targets: Float64[Tensor, "frames bands"]
    pairs: list[TopPairs]
    temper: float
    precision: Float64[Tensor, "bands bands"]

    def value(self, equaliser: Float64[Tensor, "sources bands"]) -> float:
        """Up to a constant."""
        shifted = self.model.shifted(equaliser)
        total = log_prior(equaliser, self.precision)
        for pairs, targets in self._blocks():
            log_prob = shifted.gaussian(pairs.i, pairs.j).log_prob(targets[:, None])
            total += self.temper * float((pairs.weight * log_prob).sum())
        return total

    def newton_step(
        self, equaliser: Float64[Tensor, "sources bands"]
    ) -> Float64[Tensor, "sources bands"]:
        """Gauss-Newton: the means taken as linear in the equalisers, the variances as fixed.

        Their slope is each source's share in the power.
        """
        shifted = self.model.shifted(equaliser)
        n_bands = equaliser.shape[1]
        slope = equaliser.new_zeros(2, n_bands)
        curvature = equaliser.new_zeros(2, 2, n_bands)
        for pairs, targets in self._blocks():
            gaussian = shifted.gaussian(pairs.i, pairs.j)
            weight = self.temper * pairs.weight[..., None] / gaussian.variance
            rest = targets[:, None] - gaussian.mean
            for row, share in enumerate(gaussian.shares):
                weighted = weight * share
                slope[row] += (weighted * rest).sum((0, 1))
                for column, other in enumerate(gaussian.shares):
                    curvature[row, column] += (weighted * other).sum((0, 1))
        slope -= equaliser @ self.precision
        system = torch.diag_embed(curvature)
        system[0, 0] += self.precision
        system[1, 1] += self.precision
        # [source, source, band, band] to one matrix of all sources' bands.
        matrix = system.transpose(1, 2).reshape(2 * n_bands, 2 * n_bands)
        lower = torch.linalg.cholesky(matrix)
        step: Tensor = torch.cholesky_solve(slope.view(-1, 1), lower)
        return step.view(2, n_bands)

    def _blocks(self) -> Iterator[tuple[TopPairs, Float64[Tensor, "frames bands"]]]:
        for index, pairs in enumerate(self.pairs):
            start = index * _BLOCK_FRAMES
            yield pairs, self.targets[start : start + _BLOCK_FRAMES]
