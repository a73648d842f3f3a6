"""A Gaussian around the unquantised sum of two code vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.core.components.config import check_two_sources, same_gains
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.likelihood import BoundLikelihood, Likelihood
from lqsep.core.likelihoods.bilinear import BilinearLikelihood, GramMatrix
from lqsep.core.likelihoods.given import given_by_pairs
from lqsep.plugins.gaussian_sum.calibration import Calibration

# Most pairs that `frames` lists: 2 MiB per frame in float64.
_LISTED_PAIRS = 512**2


class GaussianSumLikelihood(Likelihood):
    """``log p(m | i, j) = -|W (m - mean - gain_0 e_i - gain_1 e_j)|^2 / (2 T)`` plus a constant.

    m is the mixture's latent before quantising, ``e_i`` and ``e_j`` are the vectors of the sources'
    codes, and ``W^T W`` is the inverse of the noise's covariance. Nothing is quantised, so there is
    neither a table of sums nor an error of the nearest code. T makes up for what the Gaussian takes
    as independent and is not: errors of neighbouring frames.

    Args:
        codebook_0: Vectors of source 0's codes.
        codebook_1: Vectors of source 1's codes.
        calibration: Mean and covariance of the noise.
        temperature: T, above 0.

    Raises:
        CheckpointError: The calibration is for vectors of another size.
    """

    def __init__(
        self,
        codebook_0: Float[Tensor, "K0 embedding_dim"],
        codebook_1: Float[Tensor, "K1 embedding_dim"],
        calibration: Calibration,
        *,
        temperature: float = 1.25,
    ) -> None:
        if len(calibration.mean) != codebook_0.shape[1]:
            raise CheckpointError(
                f"likelihood 'gaussian-sum': expected a calibration of {codebook_0.shape[1]} "
                f"dimensions, got {len(calibration.mean)}; make it again with `lqsep sums "
                "--calibrate`"
            )
        self.temperature = temperature
        self._calibration = calibration
        device = codebook_0.device
        self._mean = calibration.mean.to(device)
        self._whitening = calibration.whitening().to(device)
        self._vectors = tuple(
            codebook.double() @ self._whitening.T for codebook in (codebook_0, codebook_1)
        )
        self._gram: GramMatrix | None = None
        self._gram_gains: tuple[float, ...] | None = None

    def bind(self, encoded: EncodedMixture, gains: Sequence[float]) -> BoundGaussianSum:
        check_two_sources(gains, "likelihood 'gaussian-sum'")
        if encoded.latents.shape[1] != len(self._mean):
            raise IncompatibleComponentsError(
                f"likelihood 'gaussian-sum': expected latents of {len(self._mean)} dimensions, "
                f"got {encoded.latents.shape[1]}; use the codec it was calibrated for"
            )
        both = (float(gains[0]), float(gains[1]))
        # The temperature scales all squares alike, so the vectors take its square root.
        root = math.sqrt(self.temperature)
        first, second = (
            gain / root * vectors for gain, vectors in zip(both, self._vectors, strict=True)
        )
        if self._gram is None or self._gram_gains != both:
            self._gram, self._gram_gains = GramMatrix(-first, second), both
        targets = (encoded.latents.double() - self._mean) @ self._whitening.T / root
        bound = BoundGaussianSum(first, second, self._gram, targets)
        bound.warnings = self._warnings(both)
        return bound

    def _warnings(self, gains: Sequence[float]) -> tuple[str, ...]:
        measured = self._calibration.gains
        if same_gains(measured, gains):
            return ()
        return (
            f"the noise of likelihood 'gaussian-sum' was measured at gains {measured[0]:g} and "
            f"{measured[1]:g} and is used at {gains[0]:g} and {gains[1]:g} (`lqsep sums "
            "--calibrate` measures it anew)",
        )


class BoundGaussianSum(BoundLikelihood):
    """`GaussianSumLikelihood` with the mixture's frames, all hypotheses sharing the values.

    ``log L = -|y - f - g|^2 / 2``, all vectors whitened and divided by the root of the temperature.

    Args:
        first: f, what each code of source 0 adds to the mixture.
        second: g, likewise of source 1.
        gram: ``-f . g`` of every pair.
        targets: y, the mixture less the mean of the noise, per frame.
    """

    def __init__(
        self,
        first: Float64[Tensor, "K0 embedding_dim"],
        second: Float64[Tensor, "K1 embedding_dim"],
        gram: GramMatrix,
        targets: Float64[Tensor, "frames embedding_dim"],
    ) -> None:
        self.n_frames = len(targets)
        self._first, self._second = first, second
        self._gram = gram
        self._targets = targets
        self._halves = tuple(vectors.square().sum(1) / 2 for vectors in (first, second))

    def at(self, frame: int, history: Int64[Tensor, "rows sources frames"]) -> BilinearLikelihood:
        return BilinearLikelihood(*self._terms(frame), -self._first, self._second, gram=self._gram)

    def frames(self, start: int, stop: int) -> Float64[Tensor, "frames K0 K1"] | None:
        if len(self._first) * len(self._second) > _LISTED_PAIRS:
            return None
        products = self._gram.rows(slice(None))
        result = products.new_empty(stop - start, *products.shape)
        for place, frame in enumerate(range(start, stop)):
            u, v = self._terms(frame)
            result[place] = products + v + u[:, None]
        return result

    def given(
        self, source: int, codes: Int64[Tensor, "sources frames"]
    ) -> Float64[Tensor, "frames codebook_size"]:
        return given_by_pairs(self, source, codes)

    def _terms(self, frame: int) -> tuple[Float64[Tensor, " K0"], Float64[Tensor, " K1"]]:
        """What a pair's log-likelihood has of either code alone."""
        target = self._targets[frame]
        u = self._first @ target - self._halves[0] - target.square().sum() / 2
        return u, self._second @ target - self._halves[1]
