"""What reading and writing audio share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from lqsep.core.errors import AudioError

# Samples per channel in one call: libvorbis overflows its stack on very long ones.
BLOCK = 1 << 16

# No music is sampled slower or faster. A header with 1 Hz makes hours of every second, one with
# 4 GHz needs filters of millions of samples.
_LOWEST_RATE, _HIGHEST_RATE = 1000, 1_000_000


# What libsndfile says when the system's words are wanted.
_SYSTEM_ERROR = "System error"


def checked_rate(sample_rate: int, what: str) -> int:
    """A sample rate that can be; ``what`` says whose it is.

    Raises:
        AudioError: It cannot.
    """
    if not _LOWEST_RATE <= sample_rate <= _HIGHEST_RATE:
        raise AudioError(
            f"{what}: expected a sample rate of {_LOWEST_RATE} to {_HIGHEST_RATE} Hz, got "
            f"{sample_rate} Hz."
        )
    return sample_rate


def check_finite(wave: npt.NDArray[np.float32], start: int, rate: int, what: str) -> None:
    """Refuse NaN and infinity, saying where; ``start`` is the index of the first sample."""
    finite = np.isfinite(wave)
    if finite.all():
        return
    sample = int(np.argmin(finite.all(0)))
    channel = int(np.argmin(finite[:, sample]))
    raise AudioError(
        f"{what}: the value at sample {start + sample} ({(start + sample) / rate:.3f} s), "
        f"channel {channel + 1}, is {wave[channel, sample]}; expected finite values."
    )


def reason(error: Exception) -> str:
    """What a library says of a failure, without the path and the full stop."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    text = str(text).strip().rstrip(".")
    if text != _SYSTEM_ERROR:
        return text
    number = system_errno(error)
    return os.strerror(number) if number else "the system refused, libsndfile does not say why"


def system_errno(error: Exception) -> int:
    """The system's number of what went wrong, which libsndfile keeps to itself; 0: unknown."""
    if isinstance(error, OSError):
        return error.errno or 0
    return int(getattr(getattr(soundfile, "_ffi", None), "errno", 0))


def name_for_soundfile(path: Path) -> str | bytes:
    """A file's name as soundfile opens it: it need not be UTF-8, but on Windows it is text."""
    return str(path) if os.name == "nt" else os.fsencode(path)
