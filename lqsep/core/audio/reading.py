"""Read parts of an audio file, refusing what would go wrong in silence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from lqsep.core.audio.checks import BLOCK, check_finite, checked_rate, reason
from lqsep.core.audio.decoding.recipes import find_recipe
from lqsep.core.audio.decoding.sndfile import SndfileStream
from lqsep.core.audio.decoding.streams import DecodingError, NotDecodedError, Recipe, Stream
from lqsep.core.errors import AudioError

READABLE_EXTENSIONS = ("wav", "flac", "ogg", "opus", "mp3", "aiff", "aif", "caf", "w64", "au")


@dataclass(frozen=True)
class AudioInfo:
    """What is known of an audio file.

    Args:
        n_samples: Per channel, exactly as many as reading gives.
        format: As soundfile names it, such as ``WAV``, or the library that decodes it; ``subtype``
            likewise, such as ``PCM_16``.
        warnings: What a user should know of it, a sentence each: where header and content disagree.
    """

    path: Path
    sample_rate: int
    channels: int
    n_samples: int
    format: str
    subtype: str
    warnings: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate


class AudioReader:
    """Read parts of one file, in any order. A context manager.

    Where a format cannot seek, or not exactly, files are decoded from their beginning up to the
    part asked for; parts that follow or overlap the previous one go on from there.

    Raises:
        AudioError: Missing, not to be read, no regular file, not an audio file, cut short, or
            without samples.
    """

    info: AudioInfo

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        check_regular(self.path)
        self._stream: Stream | None = None
        try:
            self._recipe = find_recipe(self.path)
        except NotDecodedError as error:
            raise AudioError(
                f"cannot read {self.path}: not a readable audio file ({error}). "
                f"Supported formats: {', '.join(READABLE_EXTENSIONS)}."
            ) from error
        except (DecodingError, OSError) as error:
            text = error if isinstance(error, DecodingError) else reason(error)
            raise AudioError(f"cannot read {self.path}: {text}.") from error
        self.info = _info(self.path, self._recipe)
        self._kept_start = 0
        self._kept: npt.NDArray[np.float32] = np.zeros((0, self.info.channels), np.float32)
        self._is_closed = False

    def read(self, start: int, stop: int) -> Float[np.ndarray, "channels samples"]:
        """Samples ``start`` (included) to ``stop`` (excluded), at least one; the caller's own.

        Raises:
            AudioError: The range is empty or outside the file, the file is damaged or cut short,
                a value is NaN or infinite, or the reader is closed.
        """
        if not 0 <= start < stop <= self.info.n_samples:
            raise AudioError(
                f"cannot read samples {start} to {stop} of {self.path}: "
                f"it has samples 0 to {self.info.n_samples}."
            )
        if self._is_closed:
            raise AudioError(f"cannot read {self.path}: it has been closed.")
        try:
            block = self._seek_and_read(start, stop)
        except (DecodingError, OSError) as error:
            raise AudioError(
                f"cannot read samples {start} to {stop} of {self.path}: the file is damaged or "
                f"cut short ({error})."
            ) from error
        if len(block) < stop - start:
            raise AudioError(
                f"cannot read {self.path}: cut short or damaged, it promises {self.info.n_samples} "
                f"samples and ends at {start + len(block)}."
            )
        wave = np.array(block.T, order="C")  # a copy also of what is one channel, and kept
        check_finite(wave, start, self.info.sample_rate, f"cannot read {self.path}")
        return wave

    def blocks(self, size: int = BLOCK) -> Iterator[Float[np.ndarray, "channels samples"]]:
        """The whole file, ``size`` samples at a time (the last block may be shorter)."""
        for start in range(0, self.info.n_samples, size):
            yield self.read(start, min(start + size, self.info.n_samples))

    def close(self) -> None:
        self._is_closed = True
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _seek_and_read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        stream = self._stream = self._stream or self._recipe.open()
        if not self._recipe.can_seek or not isinstance(stream, SndfileStream):
            return self._read_on(stream, start, stop)
        stream.seek(start)
        return stream.read(stop - start)

    def _read_on(self, stream: Stream, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read without a seek: from the part read last if it has the start, else from the top."""
        position = self._kept_start + len(self._kept)
        if start < self._kept_start:
            stream.close()
            self._stream = stream = self._recipe.open()
            self._kept_start, self._kept = 0, self._kept[:0]
            position = 0
        head = self._kept[start - self._kept_start :] if start < position else self._kept[:0]
        for skipped in range(position, start, BLOCK):
            stream.read(min(BLOCK, start - skipped))
        tail = stream.read(max(0, stop - max(start, position)))
        self._kept_start, self._kept = start, np.concatenate([head, tail])
        return self._kept[: stop - start]


def check_regular(path: Path) -> None:
    """Refuse what is no file that can be read, before a library says less about it.

    A named pipe is not opened: whoever does waits until somebody writes to it.

    Raises:
        AudioError: Missing, not to be read, a folder, or something else than a file.
    """
    if os.path.isdir(path):
        raise AudioError(f"cannot read {path}: expected an audio file, got a folder.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise AudioError(f"cannot read {path}: not a regular file.")
    try:
        path.open("rb").close()
    except FileNotFoundError as error:
        raise AudioError(f"cannot read {path}: there is no such file.") from error
    except (OSError, ValueError) as error:  # the latter for names with a zero byte
        raise AudioError(f"cannot read {path}: {reason(error)}.") from error


def _info(path: Path, recipe: Recipe) -> AudioInfo:
    checked_rate(recipe.sample_rate, f"cannot read {path}")
    if recipe.n_samples < 1:
        raise AudioError(f"cannot read {path}: the file has no samples.")
    return AudioInfo(
        path=path,
        sample_rate=recipe.sample_rate,
        channels=recipe.channels,
        n_samples=recipe.n_samples,
        format=recipe.format,
        subtype=recipe.subtype,
        warnings=recipe.warnings,
    )
