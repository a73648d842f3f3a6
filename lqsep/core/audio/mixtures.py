"""Where a mixture's samples come from: a file read in stretches, or an array in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from lqsep.core.audio.files import AudioReader
from lqsep.core.errors import AudioError, ShapeError


class MixtureReader(Protocol):
    """A mixture that can be read in stretches."""

    @property
    def name(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def n_samples(self) -> int: ...

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Samples ``start`` to ``stop``, float32, ``channels samples``."""


class FileReader:
    """A mixture in a file, never wholly in memory; a context manager.

    Raises:
        AudioError: As `lqsep.core.audio.files.AudioReader`.
    """

    def __init__(self, path: str | Path) -> None:
        self._reader = AudioReader(path)
        self.name = Path(path).stem
        self.sample_rate = self._reader.info.sample_rate
        self.channels = self._reader.info.channels
        self.n_samples = self._reader.info.n_samples

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        return self._reader.read(start, stop)

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class ArrayReader:
    """A mixture in memory.

    Args:
        wave: ``channels samples`` or ``samples``; real numbers, [-1, 1] is full scale.
        sample_rate: Hz.
        name: For reports.

    Raises:
        ShapeError: More than two axes, or more channels than samples could mean.
        AudioError: No samples, or values that are not finite.
    """

    def __init__(self, wave: npt.ArrayLike, sample_rate: int, name: str = "mixture") -> None:
        array = np.asarray(wave, dtype=np.float32)
        if array.ndim == 1:
            array = array[None]
        if array.ndim != 2:
            raise ShapeError(
                f"separating an array: expected shape [channels, samples], got {array.shape}"
            )
        if array.shape[0] > 16 and array.shape[1] <= 16:
            raise ShapeError(
                f"separating an array: expected shape [channels, samples], got {array.shape}; "
                "pass its transpose"
            )
        if array.size == 0:
            raise AudioError(f"{name} has no samples; at least one is needed")
        if not np.isfinite(array).all():
            raise AudioError(f"{name} holds values that are not finite")
        if int(sample_rate) != sample_rate or sample_rate <= 0:
            raise AudioError(
                f"{name}: the sample rate must be a positive integer in Hz, got {sample_rate!r}"
            )
        self._wave = array
        self.name = name
        self.sample_rate = int(sample_rate)
        self.channels, self.n_samples = (int(n) for n in array.shape)

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        return self._wave[:, start:stop]


class SliceReader:
    """A stretch of another reader, as ``--start`` and ``--duration`` ask for.

    Args:
        reader: The whole mixture.
        start_s: Where to begin, in seconds.
        duration_s: Seconds to read, ``round(duration_s * sample_rate)`` samples; None = to the
            end. What lies beyond the end is left out.

    Raises:
        AudioError: The stretch holds no sample.
    """

    def __init__(
        self, reader: MixtureReader, start_s: float = 0.0, duration_s: float | None = None
    ) -> None:
        self._reader = reader
        self._start = round(start_s * reader.sample_rate)
        stop = reader.n_samples
        if duration_s is not None:
            stop = min(stop, self._start + round(duration_s * reader.sample_rate))
        if self._start < 0 or stop <= self._start:
            raise AudioError(
                f"{reader.name} has no samples from {start_s:g} s"
                + ("" if duration_s is None else f" for {duration_s:g} s")
                + f": it is {reader.n_samples / reader.sample_rate:g} s long"
            )
        self.name = reader.name
        self.sample_rate = reader.sample_rate
        self.channels = reader.channels
        self.n_samples = stop - self._start

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        return self._reader.read(self._start + start, self._start + min(stop, self.n_samples))
