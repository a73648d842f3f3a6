"""A Gaussian around the log of the sum of two codes' band powers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial

import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import IncompatibleComponentsError, ShapeError
from lqsep.core.interfaces.codec import source_index
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.likelihood import BoundLikelihood, Likelihood
from lqsep.core.likelihoods.dense import DenseLikelihood
from lqsep.plugins.spectral.adaptation import (
    EqualiserPrior,
    band_octaves,
    fit_equaliser,
    log_prior,
)
from lqsep.plugins.spectral.book import SpectralBook
from lqsep.plugins.spectral.code_spectra import CodeSpectra
from lqsep.plugins.spectral.features import SpectralFeatures
from lqsep.plugins.spectral.pair_model import PairModel, PairTable

# Most pairs: the table of 96 bands then takes 800 MB.
_MOST_PAIRS = 1024**2

# Frames of a matrix product. They are always taken from multiples of it: the values of a frame then
# do not depend on which frames are asked for with it. The last ones are padded to a multiple of the
# smaller number, as products of few rows are summed in another order.
_BLOCK_FRAMES = 64
_PADDED_FRAMES = 16


class LogSumLikelihood(Likelihood):
    """``m ~ N(log(g0^2 e^a + g1^2 e^b + floor), w^2 v_a + u^2 v_b + s0)`` in every band.

    ``m`` is the mixture's log band power, ``a`` and ``b`` are the means of the codes, ``v_a`` and
    ``v_b`` their variances, ``w`` and ``u`` their shares in the power. The log-likelihood is
    multiplied by ``temper``: neighbouring frames and bands go together, and a product over them as
    if they were independent would be far too sure.

    Args:
        books: The codes of source 0 and source 1.
        features: Those that the books were made from.
        temper: Above 0.
        residual_variance: s0, squared natural log of power, above 0.
        equaliser: Standard deviations of the equalisers that `BoundLogSum.adapt` may fit.

    Raises:
        IncompatibleComponentsError: There are not two books, they have different bands, or there
            are too many pairs to list.
    """

    def __init__(
        self,
        books: Sequence[SpectralBook],
        features: SpectralFeatures,
        *,
        temper: float = 0.12,
        residual_variance: float = 0.15,
        equaliser: EqualiserPrior | None = None,
    ) -> None:
        _check_books(books)
        self.books, self.features = tuple(books), features
        self.temper = temper
        self.residual_variance = residual_variance
        self._means = tuple(book.mean.double() for book in books)
        self._variances = (books[0].variance.double(), books[1].variance.double())
        device, n_bands = self._means[0].device, self._means[0].shape[1]
        floor = torch.as_tensor(features.floor, dtype=torch.float64, device=device)
        self._floor: Float64[Tensor, " bands"] = floor.expand(n_bands)
        octaves = band_octaves(features).to(device)
        self._precision = (equaliser or EqualiserPrior()).precision(octaves)

    def bind(self, encoded: EncodedMixture, gains: Sequence[float]) -> BoundLogSum:
        check_two_sources(gains, "likelihood 'log-sum'")
        if encoded.latents.shape[1] != len(self._floor):
            raise IncompatibleComponentsError(
                f"likelihood 'log-sum': expected latents of {len(self._floor)} bands, got "
                f"{encoded.latents.shape[1]}; use the codec that its books belong to"
            )
        first, second = (
            mean + 2 * math.log(gain) for mean, gain in zip(self._means, gains, strict=True)
        )
        model = PairModel((first, second), self._variances, self._floor, self.residual_variance)
        spectra = CodeSpectra(self.books, self.features, tuple(gains))
        return BoundLogSum(model, spectra, encoded.latents.double(), self.temper, self._precision)


class BoundLogSum(BoundLikelihood):
    """`LogSumLikelihood` with the mixture's frames, all hypotheses sharing the values.

    Args:
        model: The codes at the mixture's gains, without equaliser.
        spectra: What they sound like, likewise.
        targets: Log band powers of the mixture.
        temper: Factor of the log-likelihood.
        precision: Of the equalisers' prior, the same for both sources.
        equaliser: Log power that each source's codes are moved by; None: not at all.
    """

    def __init__(
        self,
        model: PairModel,
        spectra: CodeSpectra,
        targets: Float64[Tensor, "frames bands"],
        temper: float,
        precision: Float64[Tensor, "bands bands"],
        *,
        equaliser: Float64[Tensor, "sources bands"] | None = None,
    ) -> None:
        self.n_frames = len(targets)
        self.equaliser = targets.new_zeros(2, targets.shape[1]) if equaliser is None else equaliser
        self._model, self._spectra, self._targets = model, spectra, targets
        self._temper, self._precision = temper, precision
        self._last: tuple[int, Tensor] | None = None

    can_adapt = True

    @cached_property
    def _table(self) -> PairTable:
        return PairTable(self._model.shifted(self.equaliser), self._temper)

    def at(self, frame: int, history: Int64[Tensor, "rows sources frames"]) -> DenseLikelihood:
        return DenseLikelihood(self.frames(frame, frame + 1)[0])

    def frames(self, start: int, stop: int) -> Float32[Tensor, "frames K0 K1"]:
        """Log-likelihood of every pair, tempered, less a constant that all pairs share."""
        if start % _BLOCK_FRAMES == 0 and stop == min(start + _BLOCK_FRAMES, self.n_frames):
            # Not kept: a caller who goes from block to block does not come back.
            last, self._last = self._last, None
            values = last[1] if last is not None and last[0] == start else self._compute(start)
            return values[: stop - start]
        result = torch.empty(stop - start, *self._model.n_codes, device=self._targets.device)
        for first in range(start - start % _BLOCK_FRAMES, stop, _BLOCK_FRAMES):
            low, high = max(start, first), min(stop, first + _BLOCK_FRAMES)
            result[low - start : high - start] = self._block(first)[low - first : high - first]
        return result

    def given(
        self, source: int, codes: Int64[Tensor, "sources frames"]
    ) -> Float32[Tensor, "frames codebook_size"]:
        """As `frames` for the pairs asked for, without a table of all pairs."""
        check_two_sources(range(len(codes)), "likelihood 'log-sum'")
        source = source_index(source, 2)
        model = self._model.shifted(self.equaliser)
        every = torch.arange(model.n_codes[source], device=self._targets.device)
        result = []
        for targets, others in zip(
            torch.split(self._targets, _BLOCK_FRAMES),
            torch.split(codes[1 - source], _BLOCK_FRAMES),
            strict=True,
        ):
            i, j = (every, others[:, None]) if source == 0 else (others[:, None], every)
            log_prob = model.gaussian(i, j).log_prob(targets[:, None])
            result.append((self._temper * log_prob).float())
        return torch.cat(result)

    def adapt(
        self,
        marginals: Sequence[Float[Tensor, "chosen _codebook_size"]],
        frames: Int64[Tensor, " chosen"] | None = None,
    ) -> BoundLogSum:
        """The same with equalisers fitted to the marginals, see `fit_equaliser`.

        Raises:
            ShapeError: The marginals are not one distribution per source and frame.
        """
        targets = self._targets
        if frames is not None:
            targets = targets[frames.to(targets.device)]
        expected = [(len(targets), size) for size in self._model.n_codes]
        found = [tuple(table.shape) for table in marginals]
        if found != expected:
            raise ShapeError(
                f"adapting likelihood 'log-sum': expected marginals of shapes {expected}, got "
                f"{found}"
            )
        equaliser = fit_equaliser(
            self._model,
            targets,
            (marginals[0], marginals[1]),
            lambda start, stop: partial(self._table.at, targets[start:stop]),
            equaliser=self.equaliser,
            temper=self._temper,
            precision=self._precision,
        )
        if torch.equal(equaliser, self.equaliser):
            return self
        self._forget_pairs()
        return BoundLogSum(
            self._model,
            self._spectra,
            self._targets,
            self._temper,
            self._precision,
            equaliser=equaliser,
        )

    def source_power(
        self, source: int, codes: Int64[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch bins frames"]:
        """As the interface says; all bins of a band are moved alike by the equaliser."""
        self._forget_pairs()  # Sound is made when nobody infers any more.
        return self._spectra.power(source, codes, self.equaliser[source])

    def adaptation_log_prior(self) -> float:
        return log_prior(self.equaliser, self._precision)

    def _forget_pairs(self) -> None:
        """What is large is seldom asked for again: it would be made anew."""
        self._last = None
        self.__dict__.pop("_table", None)  # not made yet where there are no frames to adapt by

    def _block(self, first: int) -> Float32[Tensor, "frames K0 K1"]:
        """Frames from ``first`` on; kept, as frames are asked for one by one or in order."""
        if self._last is None or self._last[0] != first:
            self._last = None  # Its memory goes before the new one comes.
            self._last = (first, self._compute(first))
        return self._last[1]

    def _compute(self, first: int) -> Float32[Tensor, "frames K0 K1"]:
        targets = self._targets[first : first + _BLOCK_FRAMES]
        missing = targets.new_zeros(-len(targets) % _PADDED_FRAMES, targets.shape[1])
        return self._table.log_likelihood(torch.cat([targets, missing]))


def _check_books(books: Sequence[SpectralBook]) -> None:
    check_two_sources(range(len(books)), "likelihood 'log-sum'")
    (n_rows, n_bands), (n_columns, n_others) = (book.mean.shape for book in books)
    if n_bands != n_others:
        raise IncompatibleComponentsError(
            f"likelihood 'log-sum': expected books of the same bands, got {n_bands} and {n_others}"
        )
    if n_rows * n_columns > _MOST_PAIRS:
        raise IncompatibleComponentsError(
            f"likelihood 'log-sum': it lists all pairs of codes, at most {_MOST_PAIRS}, got "
            f"{n_rows} times {n_columns}; train a codec with a smaller codebook_size"
        )
