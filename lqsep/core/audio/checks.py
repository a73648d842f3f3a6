"""What reading and writing audio share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lqsep.core.errors import AudioError

# Samples per channel in one call: libvorbis overflows its stack on very long ones.
BLOCK = 1 << 16


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
    return str(text).strip().rstrip(".")
