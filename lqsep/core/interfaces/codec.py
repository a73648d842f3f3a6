"""A codec turns sound into codes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.interfaces.data import EncodedMixture


@dataclass(frozen=True)
class CodecInfo:
    """Facts about a codec.

    Args:
        sample_rate: Hz.
        channels: Channels of the waves it takes and gives.
        hop_length: Samples per code frame.
        embedding_dim: Size of a latent vector.
    """

    sample_rate: int
    channels: int
    hop_length: int
    embedding_dim: int

    @property
    def frame_rate(self) -> float:
        """Code frames per second."""
        return self.sample_rate / self.hop_length


class Codec(ABC):
    """Sound to codes and back. ``source`` is an index; None asks for the shared codebook."""

    info: CodecInfo
    level: float | None = None
    """RMS to which `analyse` brings the mixture; None = as it is. Stems for training a prior stand
    at ``level / hypot(gains)``, see `lqsep.core.corpus.audio_pool.stem_level`."""
    takes_whole_inputs: bool = False
    """Whether `analyse` takes many minutes without needing much more than its result."""
    fingerprint: str
    """sha256 over the sorted (name, dtype, shape, bytes) of the tensors; see
    `lqsep.core.store.weights.fingerprint`."""

    @abstractmethod
    def codebook_size(self, source: int) -> int:
        """Number of codes that the given source may use."""

    @abstractmethod
    def analyse(self, wave: Float[Tensor, "batch channels samples"]) -> EncodedMixture:
        """Encode one segment of the mixture (batch 1), of any length from one sample on.

        Raises:
            ShapeError: Batch or channels do not fit.
        """

    @abstractmethod
    def encode(
        self, wave: Float[Tensor, "batch channels samples"], source: int | None = None
    ) -> Int64[Tensor, "batch frames"]:
        """Codes of a wave, ``ceil(samples / hop_length)`` frames (padded with zeros)."""

    @abstractmethod
    def embed(
        self, codes: Int64[Tensor, "batch frames"], source: int | None = None
    ) -> Float[Tensor, "batch frames embedding_dim"]:
        """The codes' vectors."""

    @abstractmethod
    def decode(
        self,
        codes: Int64[Tensor, "batch frames"],
        n_samples: int,
        source: int | None = None,
        mixture: Float[Tensor, "channels samples"] | None = None,
    ) -> Float[Tensor, "batch channels samples"]:
        """Sound of the codes, exactly ``n_samples`` long.

        A codec without phase takes the phase from ``mixture``.
        """

    def power(
        self,
        codes: Int64[Tensor, "batch frames"],
        source: int,
        shift: Float[Tensor, " embedding_dim"] | None = None,
    ) -> Float[Tensor, "batch bins frames"] | None:
        """Power spectrum that the codes stand for; None when the codec has none of its own.

        Bins are evenly spaced from 0 Hz to the Nyquist frequency; frame ``t`` is centred on the
        middle of its samples, ``(t + 1/2) * hop_length``. ``shift`` is added to the codes' vectors
        first.
        """
        return None

    def wave_power(
        self, wave: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "bins frames"] | None:
        """Power spectrum of a wave as `power` gives that of codes; None when there is none."""
        return None
