"""The mixture on its way into inference: frozen values, made once and never changed.

What comes out of it is in `lqsep.core.interfaces.candidates`.

Axis names of both: ``sources`` in the order of the configuration (source 0 is the row axis of every
joint matrix), ``candidates`` (finished hypotheses), ``frames`` (code steps), ``channels``,
``samples``.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """A stretch of a mixture at its own rate and channels.

    Args:
        wave: Its samples, without ``unheard`` if that is given.
        sample_rate: Hz.
        name: For reports.
        unheard: What was taken out because it lies below `CodecInfo.lowest_hz`. `Pipeline.render`
            shares it out among the stems.
    """

    wave: Float[Tensor, "channels samples"]
    sample_rate: int
    name: str = "mixture"
    unheard: Float[Tensor, "channels samples"] | None = None


@dataclass(frozen=True)
class EncodedMixture:
    """What a codec knows of a stretch of the mixture.

    Args:
        wave: What was analysed, at the codec's rate and channels, before ``scale``.
        latents: Before quantising; shape ``frames embedding_dim``.
        codes: The mixture's own codes, ``frames``; None for a codec without mixture codes.
        scale: Factor that was applied to the wave before analysis (1 = none); decoded waves are
            divided by it to stand as they do in the mixture.
    """

    wave: Float[Tensor, "channels samples"]
    latents: Float[Tensor, "frames embedding_dim"]
    codes: Int64[Tensor, " frames"] | None
    scale: float

    @property
    def n_samples(self) -> int:
        """Length at the codec's rate."""
        return int(self.wave.shape[-1])

    @property
    def n_frames(self) -> int:
        """Code frames."""
        return int(self.latents.shape[0])

    def between(self, start: int, stop: int, hop_length: int) -> EncodedMixture:
        """The frames ``start`` to ``stop``, as they were analysed within the whole."""
        codes = self.codes
        return EncodedMixture(
            self.wave[:, start * hop_length : stop * hop_length],
            self.latents[start:stop],
            None if codes is None else codes[start:stop],
            self.scale,
        )
