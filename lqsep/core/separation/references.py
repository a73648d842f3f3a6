"""Recordings of the single sources: brought to a mixture's form, summed, sent through the codec."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.mixtures import MixtureReader, warnings_of
from lqsep.core.audio.resampled import ResampledReader
from lqsep.core.audio.resampling import resample
from lqsep.core.errors import AudioError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.codec_calls import decoded_codes, encoded_codes


def conform(reader: MixtureReader, sample_rate: int, channels: int) -> MixtureReader:
    """The same recording at another rate and with other channels, read in stretches as before.

    Raises:
        AudioError: The channels do not fit, see `ChannelReader`.
    """
    if reader.channels != channels:
        reader = ChannelReader(reader, channels)
    if reader.sample_rate != sample_rate:
        reader = ResampledReader(reader, sample_rate)
    return reader


class ChannelReader:
    """One channel on every channel, or the mean of several as one.

    Raises:
        AudioError: Two or more channels are to become another number of two or more.
    """

    def __init__(self, reader: MixtureReader, channels: int) -> None:
        if 1 not in (reader.channels, channels):
            raise AudioError(
                f"{reader.name} has {reader.channels} channels where {channels} are needed; use "
                "recordings of as many channels, or of one"
            )
        self._reader = reader
        self.name = reader.name
        self.sample_rate = reader.sample_rate
        self.channels = channels
        self.n_samples = reader.n_samples
        self.warnings = warnings_of(reader)

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        wave = self._reader.read(start, stop).mean(0, keepdims=True)
        return np.repeat(wave, self.channels, axis=0)


class SumReader:
    """The mixture of several recordings of one form: their sum, each times its gain.

    It is as long as the shortest of them.

    Args:
        readers: Of one rate and number of channels.
        gains: Linear factors, one per reader.
        name: For reports.
    """

    def __init__(self, readers: Sequence[MixtureReader], gains: Sequence[float], name: str) -> None:
        self._readers = tuple(readers)
        self._gains = tuple(np.float32(gain) for gain in gains)
        self.name = name
        self.sample_rate = readers[0].sample_rate
        self.channels = readers[0].channels
        self.n_samples = min(reader.n_samples for reader in readers)
        self.warnings = tuple(
            f"{reader.name}: {warning}" for reader in readers for warning in warnings_of(reader)
        )

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        stop = min(stop, self.n_samples)
        parts = zip(self._readers, self._gains, strict=True)
        return sum(
            (reader.read(start, stop) * gain for reader, gain in parts),
            np.zeros((self.channels, stop - start), np.float32),
        )


def codec_round_trip(
    codec: Codec,
    wave: Float[Tensor, "channels samples"],
    mixture: Float[Tensor, "codec_channels codec_samples"],
    sample_rate: int,
    source: int,
    scale: float,
) -> Float[Tensor, "1 samples"]:
    """What the codec makes of a source's recording: the best that decoded codes could be.

    It is decoded as candidates are: a codec without phase takes that of the mixture.

    Args:
        codec: Encodes the mean of the channels with the source's codebook, and decodes.
        wave: The source before its gain.
        mixture: What holds the source, from the same moment on and at least as long, at the
            codec's rate and channels.
        sample_rate: Of the wave, and of the result.
        source: Its index.
        scale: The factor at which the codec analysed the mixture, see
            `lqsep.core.interfaces.data.EncodedMixture`.
    """
    info = codec.info
    mono = resample(wave.mean(0, keepdim=True), sample_rate, info.sample_rate)
    mono = mono.expand(info.channels, -1).to(mixture.device) * scale
    n_samples = mono.shape[-1]
    codes = encoded_codes(codec, mono[None], source)
    decoded = decoded_codes(codec, codes, n_samples, source, mixture[:, :n_samples])[0] / scale
    trip = decoded.mean(0, keepdim=True).to(wave.device)
    return resample(trip, info.sample_rate, sample_rate, n_samples=wave.shape[-1])
