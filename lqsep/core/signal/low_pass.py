"""The slow part of a recording, stretch by stretch.

The filter is a windowed sinc, symmetric in time: it delays nothing, and a value depends on what
lies near it and on nothing else. Stretches of a recording that are read by themselves, in any
order, are thus what the whole gives. At the ends, where a part of the window has no samples, the
rest counts for all: a constant is found to be one up to the first sample and the last.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lqsep.core.signal.fast_lengths import fast_length

# Periods of the cut-off frequency before and after a sample that count: 0.25 s at 20 Hz. With the
# window below, everything up to 0.8 of the frequency passes and nothing from 1.2 on, to 1 in 2000
# of its amplitude.
_REACH_PERIODS = 5
_BETA = 6.2

# Samples filtered at a time: 2 MB per channel and step.
_BLOCK = 1 << 18

# Smaller values are what rounding makes of silence: -200 dB.
_NOTHING = 1e-10


def reach(sample_rate: int, cutoff_hz: float) -> int:
    """Samples before and after its own time that a value of `low_pass` depends on."""
    return max(1, round(_REACH_PERIODS * sample_rate / cutoff_hz))


def low_pass(
    wave: npt.NDArray[np.float32], sample_rate: int, cutoff_hz: float, first: int, n_samples: int
) -> npt.NDArray[np.float32]:
    """What lies below a frequency.

    Args:
        wave: A stretch of a recording, ``channels samples``.
        sample_rate: Hz.
        cutoff_hz: Above 0.
        first: Where in the recording the stretch begins, in samples.
        n_samples: Length of the recording.

    Returns:
        Of the same shape. True from `reach` samples after the stretch's start on to as many before
        its end, or from the recording's first sample on, or to its last.
    """
    kernel = _kernel(sample_rate, cutoff_hz)
    slow = _filtered(wave, kernel)
    slow /= _weight(kernel, first, first + wave.shape[-1], n_samples)
    slow[np.abs(slow) < _NOTHING] = 0
    return slow.astype(np.float32)


@lru_cache(maxsize=8)
def _kernel(sample_rate: int, cutoff_hz: float) -> npt.NDArray[np.float64]:
    """The filter, of odd length; its values sum to one."""
    half = reach(sample_rate, cutoff_hz)
    periods = np.arange(-half, half + 1) * (cutoff_hz / sample_rate)
    taps = np.sinc(2 * periods) * np.kaiser(2 * half + 1, _BETA)
    return np.asarray(taps / taps.sum(), np.float64)


def _weight(
    kernel: npt.NDArray[np.float64], start: int, stop: int, n_samples: int
) -> npt.NDArray[np.float64]:
    """Share of the filter that has samples, at ``start`` to ``stop`` of the recording."""
    half = len(kernel) // 2
    until = np.concatenate([[0.0], np.cumsum(kernel)])
    place = np.arange(start, stop)
    before = np.minimum(place, half)
    after = np.minimum(n_samples - 1 - place, half)
    return np.asarray(until[half + after + 1] - until[half - before], np.float64)


def _filtered(
    wave: npt.NDArray[np.float32], kernel: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Convolution, as if silence lay around the wave; of its shape."""
    half, n_samples = len(kernel) // 2, wave.shape[-1]
    block = min(_BLOCK, n_samples)
    length = fast_length(block + 2 * half)
    spectrum = np.fft.rfft(kernel, length)
    result = np.empty(wave.shape, np.float64)
    for start in range(0, n_samples, block):
        stop = min(start + block, n_samples)
        first, last = max(0, start - half), min(n_samples, stop + half)
        part = np.zeros((*wave.shape[:-1], length))
        offset = first - (start - half)
        part[..., offset : offset + last - first] = wave[..., first:last]
        # The end wraps around into the first values, up to 2 * half.
        found = np.fft.irfft(np.fft.rfft(part) * spectrum, length)
        result[..., start:stop] = found[..., 2 * half : 2 * half + stop - start]
    return result
