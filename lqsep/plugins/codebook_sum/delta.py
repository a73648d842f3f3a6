"""All pairs of codes whose quantised sum is the mixture's code, and next to nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.likelihood import BoundLikelihood, Likelihood
from lqsep.core.likelihoods.given import given_by_pairs
from lqsep.core.likelihoods.sum_table import SumTableIndex, SumTableLikelihood
from lqsep.plugins.codebook_sum.likelihood import SumsOfGains
from lqsep.plugins.codebook_sum.table import SumTable

# Largest codebook for which `frames` lists every pair: 2 MiB per frame in float64.
_LISTED_CODES = 512


class DeltaLikelihood(Likelihood):
    """A smoothed indicator of ``S[i, j] = k``, k being the mixture's code.

    Of K x K pairs, the n with that sum share the probability ``mass``, the others ``1 - mass``.
    Where no pair or every pair has that sum, all are equally likely.

    Args:
        codebook: The vectors that both sources and the mixture share.
        mass: Between 0 and 1.
        table: Stored sums; None computes them.

    Raises:
        CheckpointError: The table is for another number of codes.

    Reference: Mancusi et al. 2021, arXiv:2110.05313 (precalculated sums of codes).
    """

    def __init__(
        self,
        codebook: Float[Tensor, "codebook_size embedding_dim"],
        *,
        mass: float = 0.9999,
        table: SumTable | None = None,
    ) -> None:
        self.mass = mass
        self._sums = SumsOfGains(codebook, table, "delta")

    def bind(self, encoded: EncodedMixture, gains: Sequence[float]) -> BoundDelta:
        check_two_sources(gains, "likelihood 'delta'")
        if encoded.codes is None:
            raise IncompatibleComponentsError(
                "likelihood 'delta': the codec gives no codes of the mixture; use another "
                "likelihood"
            )
        bound = BoundDelta(self._sums.at(gains), encoded.codes, self.mass)
        bound.warnings = self._sums.warnings(gains)
        return bound


class BoundDelta(BoundLikelihood):
    """`DeltaLikelihood` with the mixture's codes, all hypotheses sharing the values.

    Args:
        index: Sums of all pairs of codes.
        codes: Of the mixture.
        mass: Probability of the pairs with the right sum.
    """

    def __init__(self, index: SumTableIndex, codes: Int64[Tensor, " frames"], mass: float) -> None:
        self.n_frames = len(codes)
        self._index = index
        self._codes = codes
        self._mass = mass

    def at(self, frame: int, history: Int64[Tensor, "rows sources frames"]) -> SumTableLikelihood:
        return SumTableLikelihood(self._index, self._log_likelihood(frame))

    def frames(self, start: int, stop: int) -> Float64[Tensor, "frames K0 K1"] | None:
        if self._index.n_sums > _LISTED_CODES:
            return None
        values = [self._log_likelihood(frame) for frame in range(start, stop)]
        if not values:
            device = self._codes.device
            return torch.empty(0, *self._index.table.shape, dtype=torch.float64, device=device)
        return torch.stack(values)[:, self._index.table.long()]

    def given(
        self, source: int, codes: Int64[Tensor, "sources frames"]
    ) -> Float64[Tensor, "frames codebook_size"]:
        return given_by_pairs(self, source, codes)

    def _log_likelihood(self, frame: int) -> Float64[Tensor, " codebook_size"]:
        """Of every code that a sum may have."""
        code = int(self._codes[frame])
        n_pairs = self._index.table.numel()
        n_right = int(self._index.counts[code])
        counts = self._index.counts
        if n_right in (0, n_pairs):
            return counts.new_full(counts.shape, -math.log(n_pairs), dtype=torch.float64)
        wrong = math.log1p(-self._mass) - math.log(n_pairs - n_right)
        values = counts.new_full(counts.shape, wrong, dtype=torch.float64)
        values[code] = math.log(self._mass) - math.log(n_right)
        return values
