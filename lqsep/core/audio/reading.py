"""Read parts of an audio file, refusing what would go wrong in silence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import soundfile
from jaxtyping import Float

from lqsep.core.audio.checks import BLOCK, check_finite, reason
from lqsep.core.audio.headers import has_frame_count, missing_bytes
from lqsep.core.errors import AudioError

READABLE_EXTENSIONS = ("wav", "flac", "ogg", "opus", "mp3", "aiff", "aif", "caf", "w64", "au")

# After a seek in these, libsndfile 1.2 gives up to 900 samples of something else or from elsewhere:
# they are decoded from their beginning.
_INEXACT_SEEK = ("OGG", "MP3")


@dataclass(frozen=True)
class AudioInfo:
    """What is known of an audio file without decoding it.

    Args:
        n_samples: Per channel.
        format: As soundfile names it, such as ``WAV``; ``subtype`` likewise, such as ``PCM_16``.
    """

    path: Path
    sample_rate: int
    channels: int
    n_samples: int
    format: str
    subtype: str

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate


class AudioReader:
    """Read parts of one file, in any order. A context manager.

    Ogg and mp3 files are decoded from their beginning up to the part asked for; parts that follow
    or overlap the previous one go on from there.

    Raises:
        AudioError: Missing, not to be read, a folder, not an audio file, cut short, or without
            samples.
    """

    info: AudioInfo

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if os.path.isdir(self.path):
            raise AudioError(f"cannot read {self.path}: expected an audio file, got a folder.")
        try:  # libsndfile would only tell of a "system error"
            self.path.open("rb").close()
        except FileNotFoundError as error:
            raise AudioError(f"cannot read {self.path}: there is no such file.") from error
        except OSError as error:
            raise AudioError(f"cannot read {self.path}: {reason(error)}.") from error
        try:
            self._file = soundfile.SoundFile(self.path)
        except (soundfile.SoundFileError, OSError) as error:
            raise AudioError(
                f"cannot read {self.path}: not a readable audio file ({reason(error)}). "
                f"Supported formats: {', '.join(READABLE_EXTENSIONS)}."
            ) from error
        self._kept_start = 0
        self._kept: npt.NDArray[np.float32] = np.zeros((0, self._file.channels), np.float32)
        try:
            self._check_complete()
            self.info = AudioInfo(
                path=self.path,
                sample_rate=self._file.samplerate,
                channels=self._file.channels,
                n_samples=self._count(),
                format=self._file.format,
                subtype=self._file.subtype,
            )
            if self.info.n_samples < 1:
                raise AudioError(f"cannot read {self.path}: the file has no samples.")
        except BaseException:
            self.close()
            raise

    def read(self, start: int, stop: int) -> Float[np.ndarray, "channels samples"]:
        """Samples ``start`` (included) to ``stop`` (excluded), at least one.

        Raises:
            AudioError: The range is empty or outside the file, the file is damaged or cut short,
                or a value is NaN or infinite.
        """
        if not 0 <= start < stop <= self.info.n_samples:
            raise AudioError(
                f"cannot read samples {start} to {stop} of {self.path}: "
                f"it has samples 0 to {self.info.n_samples}."
            )
        try:
            if self._file.format in _INEXACT_SEEK:
                block = self._read_on(start, stop)
            else:
                self._file.seek(start)
                block = self._file.read(stop - start, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            raise AudioError(
                f"cannot read samples {start} to {stop} of {self.path}: the file is damaged or "
                f"cut short ({reason(error)})."
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

    def verify(self) -> float:
        """Decode the whole file once, block by block, and return its peak.

        Raises:
            AudioError: As `read`.
        """
        return max(float(np.abs(block).max()) for block in self.blocks())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check_complete(self) -> None:
        missing = missing_bytes(self.path)
        if missing:
            raise AudioError(
                f"cannot read {self.path}: the file is cut short, at least {missing} bytes are "
                "missing at its end. Copy or download it again."
            )

    def _read_on(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read without a seek: from the part read last if it has the start, else from the top."""
        position = self._kept_start + len(self._kept)
        if start < self._kept_start:
            self._reopen()
            position = 0
        head = self._kept[start - self._kept_start :] if start < position else self._kept[:0]
        for skipped in range(position, start, BLOCK):
            self._file.read(min(BLOCK, start - skipped), dtype="float32")
        n_new = max(0, stop - max(start, position))
        tail = self._file.read(n_new, dtype="float32", always_2d=True)
        self._kept_start, self._kept = start, np.concatenate([head, tail])
        return self._kept[: stop - start]

    def _reopen(self) -> None:
        self._file.close()
        self._file = soundfile.SoundFile(self.path)
        self._kept_start, self._kept = 0, self._kept[:0]

    def _count(self) -> int:
        """Samples per channel; by decoding where the file has an estimate only."""
        if self._file.format != "MP3" or has_frame_count(self.path):
            return int(self._file.frames)
        count = 0
        try:
            while n_read := len(self._file.read(BLOCK, dtype="float32")):
                count += n_read
            self._reopen()
        except (soundfile.SoundFileError, OSError) as error:
            raise AudioError(f"cannot read {self.path}: damaged ({reason(error)}).") from error
        return count
