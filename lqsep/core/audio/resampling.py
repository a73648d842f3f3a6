"""Change a wave's sample rate."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lqsep.core.audio._torchaudio import import_torchaudio
from lqsep.core.errors import ShapeError

# A Kaiser window this wide leaves 124 dB between signal and images (at 0.8 of the lower Nyquist
# frequency, 44.1 to 22.05 kHz); torchaudio's own defaults leave 25 dB.
_HALF_WIDTH = 64
_ROLLOFF = 0.9475937167399596
_BETA = 14.769656459379492

# torchaudio keeps one filter per output phase, each as long as the input period: small for the
# usual rates (11,025 to 48,000 Hz: 640 filters of 283), gigabytes for rates without a large common
# divisor. From this many values on, filters are computed as they are needed.
_MAX_KERNEL = 1 << 22

# Values in a block of filters computed as needed.
_MAX_BLOCK = 1 << 21


def resample(
    wave: Float[Tensor, "... samples"],
    from_rate: int,
    to_rate: int,
    n_samples: int | None = None,
) -> Float[Tensor, "... new_samples"]:
    """Band-limited resampling; sample 0 keeps its time.

    Args:
        wave: Float32 or float64, any leading axes.
        from_rate: Hz, like ``to_rate``.
        n_samples: Length of the result, cut or continued with zeros; default
            ``ceil(samples * to_rate / from_rate)``.

    Returns:
        The wave at the new rate, of the same type. Equal rates and length return it unchanged.

    Raises:
        ShapeError: No samples, or a rate below 1.

    Reference: Smith and Gossett 1984, "A flexible sampling-rate conversion method", ICASSP:
    windowed sinc interpolation, here with a Kaiser window.
    """
    if wave.ndim < 1 or wave.shape[-1] < 1 or min(from_rate, to_rate) < 1:
        raise ShapeError(
            f"resampling from {from_rate} to {to_rate} Hz: expected at least one sample and "
            f"positive rates, got a wave of shape {tuple(wave.shape)}."
        )
    length = wave.shape[-1]
    old, new = whole_period(from_rate, to_rate)
    wanted = -(-length * new // old) if n_samples is None else n_samples
    if old != new:
        # torchaudio rounds the length in single precision, some samples off for long waves: ask
        # for more than enough.
        room = 64 + 64 * -(-old // new)
        padded = functional.pad(wave, (0, room)).contiguous()
        taps = 2 * filter_reach(old, new)
        if new * (old + taps) <= _MAX_KERNEL:
            wave = _kernel(old, new, wave.dtype, wave.device)(padded)
        else:
            flat = _interpolate(padded.reshape(-1, length + room), old, new, wanted)
            wave = flat.reshape(*wave.shape[:-1], wanted)
    if wave.shape[-1] < wanted:
        return functional.pad(wave, (0, wanted - wave.shape[-1]))
    return wave[..., :wanted]


def whole_period(from_rate: int, to_rate: int) -> tuple[int, int]:
    """The fewest samples, at the two rates, that last equally long."""
    divisor = math.gcd(from_rate, to_rate)
    return from_rate // divisor, to_rate // divisor


def filter_reach(from_rate: int, to_rate: int) -> int:
    """Samples before and after its own time that a resampled value depends on, at most."""
    return math.ceil(_HALF_WIDTH / _ROLLOFF * max(1.0, from_rate / to_rate))


@lru_cache(maxsize=16)
def _kernel(old: int, new: int, dtype: torch.dtype, device: torch.device) -> Any:
    """torchaudio's resampler, which keeps its filters. Made in double precision."""
    # Kept for later calls: made in inference mode, it could never be differentiated through.
    with torch.inference_mode(False):
        transform = import_torchaudio().transforms.Resample(
            old,
            new,
            resampling_method="sinc_interp_kaiser",
            lowpass_filter_width=_HALF_WIDTH,
            rolloff=_ROLLOFF,
            beta=_BETA,
            dtype=torch.float64,
        )
        return transform.to(device=device, dtype=dtype)


def _interpolate(
    wave: Float[Tensor, "rows samples"], old: int, new: int, n_samples: int
) -> Float[Tensor, "rows new_samples"]:
    """The same filters, evaluated for every output sample by itself."""
    cutoff = min(1.0, new / old) * _ROLLOFF  # in cycles per two input samples
    reach = math.ceil(_HALF_WIDTH / cutoff)
    offsets = torch.arange(-reach, reach + 1, device=wave.device)
    n_samples = min(n_samples, wave.shape[1] * new // old)
    padded = functional.pad(wave, (reach, reach))
    result = wave.new_empty(wave.shape[0], n_samples)
    block = max(1, _MAX_BLOCK // len(offsets))
    for start in range(0, n_samples, block):
        index = torch.arange(start, min(start + block, n_samples), device=wave.device)
        centre = index * old // new
        phase = (index * old % new).double() / new
        time = ((offsets - phase[:, None]) * cutoff).clamp(-_HALF_WIDTH, _HALF_WIDTH)
        window = torch.i0(_BETA * (1 - (time / _HALF_WIDTH) ** 2).sqrt())
        taps = torch.sinc(time) * window * (cutoff / torch.i0(torch.tensor(_BETA).double()))
        near = padded[:, centre[:, None] + offsets + reach]
        result[:, start : start + len(index)] = (near * taps.to(wave.dtype)).sum(-1)
    return result
