"""A Gaussian around the weighted sum of two decoded codes, in the time domain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.likelihood import BoundLikelihood, Likelihood
from lqsep.core.likelihoods.bilinear import BilinearLikelihood
from lqsep.plugins.waveform.windows import Window, WindowDecoder, first_frame


class WaveformLikelihood(Likelihood):
    """``log L[i, j] = -|gain_0 d_0(i) + gain_1 d_1(j) - m|^2 / (2 sigma^2)``, up to a constant.

    ``d_s(k)`` are the last samples, one hop, of the codes that source s has had so far (a window
    of them) and then k, decoded; m is the same hop of the mixture's own codes, decoded. Both
    stand at the codec's level, whatever that of the mixture.

    Args:
        codec: Decodes sources and mixture.
        sigma: Standard deviation per sample.
        window: Which codes are decoded before a candidate, see `first_frame`.
        context: Frames of the window.
        batch_size: Candidates decoded at a time.

    Reference: Mancusi et al. 2021, arXiv:2110.05313.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        sigma: float = 0.1,
        window: Window = "constant",
        context: int = 8,
        batch_size: int = 256,
    ) -> None:
        self.sigma = sigma
        self.window: Window = window
        self.context = context
        self._codec = codec
        self._decoder = WindowDecoder(codec, batch_size=batch_size)

    def bind(self, encoded: EncodedMixture, gains: Sequence[float]) -> BoundWaveform:
        check_two_sources(gains, "likelihood 'waveform'")
        if encoded.codes is None:
            raise IncompatibleComponentsError(
                "likelihood 'waveform': the codec gives no codes of the mixture; use a codec that "
                "does, or another likelihood"
            )
        with torch.no_grad():
            mixture = self._codec.decode(encoded.codes[None], encoded.n_samples)[0]
        return BoundWaveform(self, self._decoder, mixture, len(encoded.codes), tuple(gains))


class BoundWaveform(BoundLikelihood):
    """`WaveformLikelihood` with the decoded mixture.

    Squares written out, the value is a term per code of each source and a product of two
    waves of a hop: nothing of the size of all pairs times a hop is ever made.

    Args:
        likelihood: Its settings.
        decoder: Decodes the candidates.
        mixture: Decoded.
        n_frames: Its codes.
        gains: Of both sources.
    """

    uses_history = True

    def __init__(
        self,
        likelihood: WaveformLikelihood,
        decoder: WindowDecoder,
        mixture: Float[Tensor, "channels samples"],
        n_frames: int,
        gains: Sequence[float],
    ) -> None:
        self.n_frames = n_frames
        self._likelihood = likelihood
        self._decoder = decoder
        self._mixture = mixture
        self._gains = gains

    def at(self, frame: int, history: Int64[Tensor, "rows sources frames"]) -> BilinearLikelihood:
        start = first_frame(frame, self._likelihood.context, self._likelihood.window)
        first, second = self._decoder.decode(history[:, :, start:frame].unbind(1))
        first = self._gains[0] * self._heard(first, frame)
        second = self._gains[1] * self._heard(second, frame)
        target = self._mixture[:, self._samples(frame)].flatten().double()
        # |a + b|^2 with a what code i leaves of the mixture, below zero, and b code j.
        rest = first - target
        scale = -0.5 / self._likelihood.sigma**2
        return BilinearLikelihood(
            scale * rest.square().sum(-1),
            scale * second.square().sum(-1),
            2 * scale * rest,
            second,
        )

    def _samples(self, frame: int) -> slice:
        """Of a frame; fewer than a hop where the mixture ends inside it."""
        hop = self._decoder.hop_length
        return slice(frame * hop, min((frame + 1) * hop, self._mixture.shape[1]))

    def _heard(
        self, ends: Float[Tensor, "*rows codes samples"], frame: int
    ) -> Float[Tensor, "*rows codes heard"]:
        """What lies inside the mixture, in float64."""
        part = self._samples(frame)
        channels = ends.double().view(*ends.shape[:-1], len(self._mixture), -1)
        return channels[..., : part.stop - part.start].flatten(-2)
