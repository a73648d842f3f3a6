"""The probability of the mixture's code given a pair of codes, from counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lqsep.core.components.config import check_two_sources, same_gains
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.likelihood import BoundLikelihood, Likelihood
from lqsep.core.likelihoods.given import given_by_pairs
from lqsep.core.likelihoods.sparse import SparseLikelihood
from lqsep.plugins.counts.store import TripleCounts

# Codes of the mixture whose likelihood is kept ready: at 8192 codes some 0.2 MB each, beside the
# listed pairs.
_KEPT_CODES = 256

# Largest codebook for which `frames` lists every pair: 2 MiB per frame in float64.
_LISTED_CODES = 512


class CountsLikelihood(Likelihood):
    """``log L[i, j] = weight log((1 - smoothing) c[i, j, m] / c[i, j, .] + smoothing / K)``.

    ``c`` counts how often the codes i and j of the sources met the mixture's code m. Pairs that
    were not seen with m, among them those that were never seen at all, have the floor
    ``weight log(smoothing / K)``. For a pair without any count ``1 / K`` would be the estimate of
    p(m | i, j), but there are millions of such pairs, each would then explain every frame better
    than most pairs that were seen, and together they would hold the posterior. Two sounds that no
    recording brought together are rare themselves: the floor stands for that.

    Args:
        counted: The counts.
        codebook_size: Codes of each source and of the mixture.
        smoothing: In (0, 1].
        weight: Factor of the log-likelihood; LASS's lambda.
        device: Where the tables live.

    Raises:
        CheckpointError: The counts are for another number of codes.

    Reference: Postolache et al. 2023, arXiv:2301.08562, section 3.
    """

    def __init__(
        self,
        counted: TripleCounts,
        *,
        codebook_size: int,
        smoothing: float = 0.01,
        weight: float = 1.0,
        device: torch.device | None = None,
    ) -> None:
        if counted.codebook_size != codebook_size:
            raise CheckpointError(
                f"likelihood 'counts': expected counts of {codebook_size} codes, got "
                f"{counted.codebook_size}; make them again with `lqsep counts`"
            )
        self.codebook_size = codebook_size
        self.smoothing = smoothing
        self.weight = weight
        self.gains = counted.gains
        self.floor = weight * math.log(smoothing / codebook_size)
        self._pairs, self._values, self._starts = self._table(counted, device)
        self._of_code = lru_cache(_KEPT_CODES)(self._make)

    def bind(self, encoded: EncodedMixture, gains: Sequence[float]) -> BoundCounts:
        check_two_sources(gains, "likelihood 'counts'")
        if encoded.codes is None:
            raise IncompatibleComponentsError(
                "likelihood 'counts': the codec gives no codes of the mixture; use a codec that "
                "does, or another likelihood"
            )
        bound = BoundCounts(self, encoded.codes)
        if self.gains is not None and not same_gains(self.gains, gains):
            bound.warnings = (
                f"the counts are for gains {self.gains[0]:g} and {self.gains[1]:g}, not for "
                f"{gains[0]:g} and {gains[1]:g}; `lqsep counts` makes new ones for the model's "
                "gains",
            )
        return bound

    def of_code(self, code: int) -> SparseLikelihood:
        """The likelihood of a frame whose mixture has this code."""
        return self._of_code(code)

    def _make(self, code: int) -> SparseLikelihood:
        part = slice(int(self._starts[code]), int(self._starts[code + 1]))
        pairs, size = self._pairs[part], self.codebook_size
        return SparseLikelihood(
            (size, size), pairs // size, pairs % size, self._values[part], self.floor
        )

    def _table(
        self, counted: TripleCounts, device: torch.device | None
    ) -> tuple[Int64[Tensor, " entries"], Float64[Tensor, " entries"], Int64[Tensor, " starts"]]:
        """Pairs ``i K + j`` and values, by the mixture's code; where each code's entries start."""
        size = self.codebook_size
        first, second, mixture = counted.triples.to(device).unbind(1)
        # A triple may be listed more than once: its counts add up.
        keys = (mixture * size + first) * size + second
        keys, place = torch.unique(keys, return_inverse=True)
        counts = keys.new_zeros(len(keys)).index_add_(0, place, counted.counts.to(device)).double()
        mixture, pairs = keys // size**2, keys % size**2
        distinct, place = torch.unique(pairs, return_inverse=True)
        totals = counts.new_zeros(len(distinct)).index_add_(0, place, counts)
        seen = (1 - self.smoothing) * counts / totals[place]
        values = self.weight * (seen + self.smoothing / size).log()
        lengths = torch.bincount(mixture, minlength=size)
        starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        # With a smoothing of one the values are the floor, up to rounding.
        return pairs, values.clamp_min(self.floor), starts.cpu()


class BoundCounts(BoundLikelihood):
    """`CountsLikelihood` with the codes of the mixture, all hypotheses sharing the values."""

    def __init__(self, likelihood: CountsLikelihood, codes: Int64[Tensor, " frames"]) -> None:
        self._likelihood = likelihood
        self._codes: list[int] = codes.tolist()
        self.n_frames = len(self._codes)

    def at(self, frame: int, history: Int64[Tensor, "rows sources frames"]) -> SparseLikelihood:
        return self._likelihood.of_code(self._codes[frame])

    def frames(self, start: int, stop: int) -> Float64[Tensor, "frames K0 K1"] | None:
        size = self._likelihood.codebook_size
        if size > _LISTED_CODES:
            return None
        values = self._likelihood._values
        result = values.new_empty(stop - start, size, size)
        every = torch.arange(size, device=values.device)
        for place, code in enumerate(self._codes[start:stop]):
            result[place] = self._likelihood.of_code(code).rows(torch.zeros_like(every), every)
        return result

    def given(
        self, source: int, codes: Int64[Tensor, "sources frames"]
    ) -> Float64[Tensor, "frames codebook_size"]:
        return given_by_pairs(self, source, codes)
