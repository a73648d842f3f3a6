"""A Gaussian around the quantised sum of two codes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int32, Int64
from torch import Tensor

from lqsep.core.components.config import check_two_sources, same_gains
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.likelihood import BoundLikelihood, Likelihood
from lqsep.core.likelihoods.given import given_by_pairs
from lqsep.core.likelihoods.sum_table import SumTableIndex, SumTableLikelihood
from lqsep.plugins.codebook_sum.table import SumTable, build_sum_table

Target = Literal["quantised", "unquantised"]

_LOGGER = logging.getLogger("lqsep")

# Largest codebook for which `frames` lists every pair: 2 MiB per frame in float64.
_LISTED_CODES = 512


class SumsOfGains:
    """The table of code sums at the gains that a mixture is bound with.

    Sums stored for other gains are not used: they are computed when new gains are first asked for.

    Args:
        codebook: The vectors that both sources and the mixture share.
        table: Stored sums; None computes them.
        name: Of the likelihood, for messages.

    Raises:
        CheckpointError: The table is for another number of codes.
    """

    def __init__(
        self,
        codebook: Float[Tensor, "codebook_size embedding_dim"],
        table: SumTable | None,
        name: str,
    ) -> None:
        if table is not None and len(table.table) != len(codebook):
            raise CheckpointError(
                f"likelihood '{name}': expected a table of sums for {len(codebook)} codes, "
                f"got {len(table.table)}; make it again with `lqsep sums`"
            )
        self._codebook = codebook
        self._stored = table
        self._index: SumTableIndex | None = None
        self._index_gains: tuple[float, ...] | None = None

    def at(self, gains: Sequence[float]) -> SumTableIndex:
        """The table for two gains, kept until others are asked for."""
        both = (float(gains[0]), float(gains[1]))
        if self._index is None or self._index_gains != both:
            table = self._table(both).to(self._codebook.device)
            self._index = SumTableIndex(table, len(self._codebook))
            self._index_gains = both
        return self._index

    def _table(self, gains: Sequence[float]) -> Int32[Tensor, "codebook_size codebook_size"]:
        if self._stored is not None and same_gains(self._stored.gains, gains):
            return self._stored.table
        _LOGGER.info(
            "computing the sums of all pairs of %d codes (`lqsep sums` stores them)",
            len(self._codebook),
        )
        return build_sum_table(self._codebook, gains)

    def warnings(self, gains: Sequence[float]) -> tuple[str, ...]:
        """That the stored table is not for these gains, if so."""
        if self._stored is None or same_gains(self._stored.gains, gains):
            return ()
        stored = self._stored.gains
        return (
            f"the table of code sums is for gains {stored[0]:g} and {stored[1]:g} and was computed "
            f"again for {gains[0]:g} and {gains[1]:g} (`lqsep sums` stores it)",
        )


class CodebookSumLikelihood(Likelihood):
    """``log p(m | i, j) = -|e[S[i, j]] - m|^2 / (2 sigma^2)``, up to a constant.

    ``S[i, j]`` is the code nearest to ``gain_0 e_i + gain_1 e_j`` and m the mixture's frame.

    Args:
        codebook: The vectors that both sources and the mixture share.
        sigma: Standard deviation per dimension.
        target: ``quantised`` takes as m the vector of the mixture's code, ``unquantised`` its
            latent before quantising.
        table: Stored sums; None computes them.

    Raises:
        CheckpointError: The table is for another number of codes.

    Reference: Mancusi et al. 2021, arXiv:2110.05313.
    """

    def __init__(
        self,
        codebook: Float[Tensor, "codebook_size embedding_dim"],
        *,
        sigma: float = 0.2,
        target: Target = "quantised",
        table: SumTable | None = None,
    ) -> None:
        self.codebook = codebook
        self.sigma = sigma
        self.target: Target = target
        self._sums = SumsOfGains(codebook, table, "codebook-sum")

    def bind(self, encoded: EncodedMixture, gains: Sequence[float]) -> BoundCodebookSum:
        check_two_sources(gains, "likelihood 'codebook-sum'")
        if encoded.latents.shape[1] != self.codebook.shape[1]:
            raise IncompatibleComponentsError(
                f"likelihood 'codebook-sum': expected latents of {self.codebook.shape[1]} "
                f"dimensions, got {encoded.latents.shape[1]}; use the codec it was built for"
            )
        targets = encoded.latents
        if self.target == "quantised":
            if encoded.codes is None:
                raise IncompatibleComponentsError(
                    "likelihood 'codebook-sum': the codec gives no codes of the mixture; set "
                    "likelihood.target to 'unquantised' or use another likelihood"
                )
            targets = self.codebook[encoded.codes]
        bound = BoundCodebookSum(self._sums.at(gains), self.codebook, targets, self.sigma)
        bound.warnings = self._sums.warnings(gains)
        return bound


class BoundCodebookSum(BoundLikelihood):
    """`CodebookSumLikelihood` with the mixture's frames, all hypotheses sharing the values.

    Args:
        index: Sums of all pairs of codes.
        codebook: The vectors.
        targets: What the quantised sum is compared with, per frame.
        sigma: Standard deviation per dimension.
    """

    def __init__(
        self,
        index: SumTableIndex,
        codebook: Float[Tensor, "codebook_size embedding_dim"],
        targets: Float[Tensor, "frames embedding_dim"],
        sigma: float,
    ) -> None:
        self.n_frames = len(targets)
        self._index = index
        self._codebook = codebook.double()
        self._targets = targets.double()
        self._sigma = sigma

    def at(self, frame: int, history: Int64[Tensor, "rows sources frames"]) -> SumTableLikelihood:
        return SumTableLikelihood(self._index, self._log_likelihood(frame))

    def frames(self, start: int, stop: int) -> Float64[Tensor, "frames K0 K1"] | None:
        if len(self._codebook) > _LISTED_CODES:
            return None
        values = [self._log_likelihood(frame) for frame in range(start, stop)]
        if not values:
            return self._codebook.new_empty(0, *self._index.table.shape)
        return torch.stack(values)[:, self._index.table.long()]

    def given(
        self, source: int, codes: Int64[Tensor, "sources frames"]
    ) -> Float64[Tensor, "frames codebook_size"]:
        return given_by_pairs(self, source, codes)

    def _log_likelihood(self, frame: int) -> Float64[Tensor, " codebook_size"]:
        """Of every code that a sum may have."""
        # Differences, not |e|^2 - 2 e m + |m|^2: a small sigma magnifies what that would cancel.
        squares = (self._codebook - self._targets[frame]).square().sum(1)
        return squares / (-2 * self._sigma**2)
