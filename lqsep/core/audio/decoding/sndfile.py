"""Decoding by libsndfile, through soundfile."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
from jaxtyping import Float

from lqsep.core.audio.checks import BLOCK, name_for_soundfile, reason
from lqsep.core.audio.decoding.quiet import without_mpg123
from lqsep.core.audio.decoding.streams import DecodingError, NotDecodedError
from lqsep.core.audio.decoding.views import FileView

Result = TypeVar("Result")


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """A file that soundfile takes for one that cannot seek.

    soundfile seeks to where it stands after every read. In an mp3 file that empties the decoder's
    reservoir of bits, and the next block begins with something else, by up to half of full scale.
    """

    def seekable(self) -> bool:
        return False


class SndfileStream:
    """A file, or a view of one, decoded by libsndfile.

    Args:
        path: The file.
        view: Makes the view that is decoded in its place.
        skip: Samples to be dropped at the beginning.
        length: Samples after which it ends; None = as libsndfile has it.
        order: Of the channels, as indices into those of the file; None leaves it.

    Raises:
        NotDecodedError: libsndfile does not know what is in it.
    """

    def __init__(
        self,
        path: Path,
        *,
        view: Callable[[], FileView] | None = None,
        skip: int = 0,
        length: int | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        self._view = view() if view else None
        # A view is read by Python functions that libsndfile calls back. An interruption would
        # strike there, and be lost; in another thread than the main one, none does.
        self._thread = ThreadPoolExecutor(1) if view else None
        self._skip, self._left, self._order = skip, length, order
        self._file: Any = None
        self._is_mpeg = os.name == "posix"
        try:
            self._file = self._call(lambda: _ForwardFile(self._view or name_for_soundfile(path)))
        except (DecodingError, TypeError) as error:  # the latter for names that end in ".raw"
            self.close()
            raise NotDecodedError(str(error)) from error
        except BaseException:
            self.close()
            raise
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.n_promised = int(self._file.frames)
        self.format = str(self._file.format)
        self.subtype = str(self._file.subtype)
        self._is_mpeg &= "MPEG" in f"{self.format} {self.subtype}"

    def seek(self, sample: int) -> None:
        """Go on from there; to be trusted in some formats only, see `seeks_exactly`."""
        self._call(lambda: self._file.seek(sample))

    def read(self, n_samples: int) -> Float[np.ndarray, "samples channels"]:
        while self._skip:
            dropped = len(self._read(min(self._skip, BLOCK)))
            self._skip = self._skip - dropped if dropped else 0
        if self._left is None:
            return self._read(n_samples)
        block = self._read(min(n_samples, self._left))
        self._left -= len(block)
        return block

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(DecodingError):  # nothing was written
                self._call(file.close)
        if self._thread is not None:
            self._thread.shutdown()
        if self._view is not None:
            self._view.close()

    def _read(self, n_samples: int) -> Float[np.ndarray, "samples channels"]:
        block: Float[np.ndarray, "samples channels"] = self._call(
            lambda: self._file.read(n_samples, dtype="float32", always_2d=True)
        )
        return block if self._order is None else block[:, self._order]

    def _call(self, function: Callable[[], Result]) -> Result:
        try:
            # Before it is open, it may be anything.
            with without_mpg123 if self._is_mpeg else nullcontext():
                result = self._thread.submit(function).result() if self._thread else function()
        except (soundfile.SoundFileError, OSError) as error:
            raise DecodingError(reason(error)) from error
        if self._view is not None and self._view.error is not None:
            raise DecodingError(reason(self._view.error))
        return result


def seeks_exactly(stream: SndfileStream) -> bool:
    """Whether samples after a seek are those that reading from the beginning gives.

    In ogg and mp3 files they are not; some of the rarer codings cannot seek, and say so or not.
    """
    return stream.format in _EXACT_FORMATS and stream.subtype.startswith(_EXACT_SUBTYPES)


_EXACT_FORMATS = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"}
_EXACT_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW", "ALAC_")
