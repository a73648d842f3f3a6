"""A recording at another sample rate, stretch by stretch: never wholly in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.mixtures import MixtureReader, warnings_of
from lqsep.core.audio.resampling import filter_reach, resample, whole_period

ReadSamples = Callable[[int, int], npt.NDArray[np.float32]]
"""Gives samples ``start`` to ``stop``, ``channels samples``; the array is the caller's own."""


def resample_stretch(
    read: ReadSamples, n_samples: int, from_rate: int, to_rate: int, start: int, stop: int
) -> Float[Tensor, "channels new_samples"]:
    """What resampling the whole recording would give from ``start`` to ``stop``.

    Args:
        read: The recording; asked once, for what the stretch depends on.
        n_samples: Length of the recording.
        from_rate: Hz, like ``to_rate``.
        start: In samples of the new rate, like ``stop``.
    """
    # Sample old * n of the recording and sample new * n of the result are at the same time.
    old, new = whole_period(from_rate, to_rate)
    margin = -(-filter_reach(old, new) // old)
    first = max(0, start // new - margin)
    last = -(-stop // new) + margin
    wave = torch.from_numpy(read(first * old, min(n_samples, last * old)))
    offset = first * new
    return resample(wave, old, new, n_samples=stop - offset)[:, start - offset :]


class ResampledReader:
    """A recording at another sample rate; every stretch is what `resample` of the whole would give.

    Args:
        reader: The recording.
        sample_rate: Wanted, in Hz.
    """

    def __init__(self, reader: MixtureReader, sample_rate: int) -> None:
        self._reader = reader
        self._old, self._new = whole_period(reader.sample_rate, sample_rate)
        self.name = reader.name
        self.sample_rate = sample_rate
        self.channels = reader.channels
        self.n_samples = -(-reader.n_samples * self._new // self._old)
        self.warnings = warnings_of(reader)

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Samples ``start`` to ``stop`` of the new rate."""
        reader = self._reader
        stretch = resample_stretch(
            reader.read, reader.n_samples, reader.sample_rate, self.sample_rate, start, stop
        )
        return stretch.numpy()

    def blocks(self, size: int) -> Iterator[npt.NDArray[np.float32]]:
        """All of it, about ``size`` samples of the recording at a time."""
        # A block begins where samples of both rates meet.
        step = max(1, size // self._old) * self._new
        for start in range(0, self.n_samples, step):
            yield self.read(start, min(start + step, self.n_samples))
