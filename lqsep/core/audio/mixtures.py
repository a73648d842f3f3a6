"""Where a mixture's samples come from: a file read in stretches, or an array in memory.

`opened_mixture` takes whatever a user may hand over, and closes what it opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from lqsep.core.audio.checks import checked_rate
from lqsep.core.audio.files import AudioReader
from lqsep.core.audio.inputs.arrays import as_wave
from lqsep.core.errors import AudioError


@runtime_checkable
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
        """Samples ``start`` to ``stop``, float32, ``channels samples``; the caller's own."""


MixtureLike = str | os.PathLike[str] | tuple[npt.ArrayLike, int] | MixtureReader
"""A path, ``(wave [channels, samples], sample_rate)``, or an open reader."""


@contextmanager
def opened_mixture(mixture: MixtureLike) -> Iterator[MixtureReader]:
    """A mixture as a reader. A file that is opened for it is closed at the end; a reader that was
    given stays as it is.

    Raises:
        AudioError: The file cannot be read; the wave cannot be used (see `ArrayReader`); or it is
            none of the things that a mixture can be.
        ShapeError: As `ArrayReader`.
    """
    if isinstance(mixture, str | os.PathLike):
        with FileReader(Path(mixture)) as reader:
            yield reader
    elif isinstance(mixture, tuple):
        yield ArrayReader(*_wave_and_rate(mixture))
    elif isinstance(mixture, MixtureReader):
        yield mixture
    else:
        raise AudioError(_not_a_mixture(mixture))


def warnings_of(reader: MixtureReader) -> tuple[str, ...]:
    """What a user should know of a mixture's file, a sentence each; readers need not know."""
    return tuple(getattr(reader, "warnings", ()))


class FileReader:
    """A mixture in a file, never wholly in memory; a context manager.

    Attributes:
        warnings: What a user should know of the file.

    Raises:
        AudioError: As `lqsep.core.audio.files.AudioReader`.
    """

    def __init__(self, path: str | Path) -> None:
        self._reader = AudioReader(path)
        self.name = Path(path).stem
        self.sample_rate = self._reader.info.sample_rate
        self.channels = self._reader.info.channels
        self.n_samples = self._reader.info.n_samples
        self.warnings = self._reader.info.warnings

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
        wave: ``channels samples`` or ``samples``. Floats have full scale 1; integers of 8, 16 and
            32 bits that of their type.
        sample_rate: Hz.
        name: For reports.

    Raises:
        ShapeError: More than two axes, or more channels than samples could mean.
        AudioError: No samples, values that are not finite, or a type whose full scale is not known.
    """

    def __init__(self, wave: npt.ArrayLike, sample_rate: int, name: str = "mixture") -> None:
        self._wave = as_wave(wave, name)
        self.name = name
        self.sample_rate = _checked_rate(sample_rate, name)
        self.channels, self.n_samples = (int(n) for n in self._wave.shape)

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        return self._wave[:, start:stop].copy()


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
        self.warnings = warnings_of(reader)

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        return self._reader.read(self._start + start, self._start + min(stop, self.n_samples))


def _wave_and_rate(mixture: tuple[Any, ...]) -> tuple[Any, Any]:
    if len(mixture) != 2:
        raise AudioError(
            f"separating an array: expected (wave, sample_rate), got {len(mixture)} values"
        )
    wave, sample_rate = mixture
    if np.ndim(wave) == 0 and np.ndim(sample_rate) > 0:  # as scipy.io.wavfile.read returns them
        raise AudioError(
            "separating an array: expected (wave, sample_rate), got them the other way round"
        )
    return wave, sample_rate


def _not_a_mixture(mixture: object) -> str:
    expected = "expected a path, (wave [channels, samples], sample_rate) or an open reader"
    shape = getattr(mixture, "shape", None)
    if shape is not None or isinstance(mixture, list):
        form = "a list" if shape is None else f"an array of shape {tuple(shape)}"
        return f"separating {form}: its sample rate is not known; pass (wave, sample_rate)"
    if hasattr(mixture, "read"):
        return (
            f"separating an open file: {expected}, got {type(mixture).__name__}; pass its path, or "
            "what soundfile.read gives of it, transposed"
        )
    return f"separating {type(mixture).__name__}: {expected}"


def _checked_rate(sample_rate: Any, name: str) -> int:
    is_number = isinstance(sample_rate, int | float | np.number) and not isinstance(
        sample_rate, bool
    )
    if not is_number or sample_rate != sample_rate // 1 or sample_rate <= 0:
        raise AudioError(
            f"{name}: the sample rate must be a positive integer in Hz, got {sample_rate!r}"
        )
    return checked_rate(int(sample_rate), name)
