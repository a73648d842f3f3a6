"""A codec turns sound into codes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.interfaces.data import EncodedMixture


@dataclass(frozen=True)
class CodecInfo:
    """Facts about a codec.

    Args:
        sample_rate: Hz.
        channels: Channels of the waves it takes and gives.
        hop_length: Samples per code frame.
        embedding_dim: Size of a latent vector.
        level: RMS to which `Codec.analyse` brings the mixture; None = as it is. Stems for training
            a prior stand at ``level / hypot(gains)``.
        takes_whole_inputs: Whether `Codec.analyse` takes many minutes without needing much more
            than its result.
        lowest_hz: Where hearing begins. What lies below (see `lqsep.core.signal.unheard`) is taken
            out of a mixture before it is analysed, and shared out evenly among the stems in the
            end; 0 = nothing is.
    """

    sample_rate: int
    channels: int
    hop_length: int
    embedding_dim: int
    level: float | None = None
    takes_whole_inputs: bool = False
    lowest_hz: float = 20.0

    @property
    def frame_rate(self) -> float:
        """Code frames per second."""
        return self.sample_rate / self.hop_length


class Codec(ABC):
    """Sound to codes and back.

    A source is named by its index, see `source_index`; None asks for the shared codebook.
    """

    info: CodecInfo
    fingerprint: str
    """sha256 over the sorted (name, dtype, shape, bytes) of the tensors; see
    `lqsep.core.store.weights.fingerprint`."""

    @abstractmethod
    def codebook_size(self, source: int) -> int:
        """Number of codes that the given source may use.

        Raises:
            IncompatibleComponentsError: It is no index of a source.
        """

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

    def wave_power(
        self, wave: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "bins frames"] | None:
        """Power spectrum of a wave on the grid of `BoundLikelihood.source_power`; None if none."""
        return None


def source_index(source: int, n_sources: int | None = None) -> int:
    """The index of a source as a codec's methods take it, checked.

    Args:
        source: Counted from 0 in the order of the configuration.
        n_sources: How many there are; None: any number.

    Raises:
        IncompatibleComponentsError: It is a name or something else, or there is no such source.
    """
    if not isinstance(source, int) or isinstance(source, bool):
        raise IncompatibleComponentsError(
            f"asking a codec for source {source!r}: expected the index of the source, counted from "
            "0; a factory finds its own in context.source_index"
        )
    if source < 0 or (n_sources is not None and source >= n_sources):
        known = "0 or more" if n_sources is None else f"0 to {n_sources - 1}"
        raise IncompatibleComponentsError(
            f"asking a codec for source {source}: expected an index from {known}"
        )
    return source
