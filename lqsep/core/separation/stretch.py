"""What is known of a stretch of the mixture between sampling and decoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from lqsep.core.interfaces.data import Candidates, EncodedMixture


@dataclass(frozen=True)
class SampledStretch:
    """A stretch of the mixture at the codec's rate, with its candidates.

    Args:
        wave: What was analysed.
        encoded: Its latents and codes.
        candidates: As the sampler gave them.
        warnings: Of the likelihood.
        timings: Seconds by stage.
    """

    wave: Float[Tensor, "channels samples"]
    encoded: EncodedMixture
    candidates: Candidates
    warnings: tuple[str, ...]
    timings: Mapping[str, float]

    def between(self, start: int, stop: int, hop_length: int) -> SampledStretch:
        """The frames ``start`` to ``stop``; the time spent stands with the first of them."""
        if start == 0 and stop == self.encoded.n_frames:
            return self
        wave = self.wave[:, start * hop_length : stop * hop_length]
        codes = self.encoded.codes
        encoded = EncodedMixture(
            self.encoded.latents[start:stop],
            None if codes is None else codes[start:stop],
            self.encoded.scale,
            wave.shape[1],
        )
        return SampledStretch(
            wave,
            encoded,
            self.candidates.between(start, stop),
            self.warnings,
            {} if start else self.timings,
        )
