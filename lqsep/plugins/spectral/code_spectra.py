"""What the codes of every source sound like in a mixture: their power spectra."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.plugins.spectral.book import SpectralBook
from lqsep.plugins.spectral.features import SpectralFeatures


@dataclass(frozen=True)
class CodeSpectra:
    """Books of spectra, and the gains of their sources.

    Args:
        books: One per source.
        features: Those that the books were made from.
        gains: Linear factors of the sources in the mixture.
    """

    books: tuple[SpectralBook, ...]
    features: SpectralFeatures
    gains: tuple[float, ...]

    def power(
        self,
        source: int,
        codes: Int64[Tensor, "batch frames"],
        equaliser: Float[Tensor, " bands"],
    ) -> Float[Tensor, "batch bins frames"]:
        """Of a source's codes as they stand in the mixture.

        Args:
            source: Its index.
            codes: Of any frames.
            equaliser: Natural log of power per band, added to that of all bins of the band.
        """
        log_power = self.books[source].log_power
        log_power = log_power + self.features.spread(equaliser.to(log_power))
        return log_power.exp()[codes].transpose(1, 2) * self.gains[source] ** 2
