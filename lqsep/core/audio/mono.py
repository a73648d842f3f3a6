"""The one signal of a mixture that is analysed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.mixtures import MixtureReader
from lqsep.core.audio.resampled import resample_stretch
from lqsep.core.audio.resampling import resample, whole_period

# Seconds read at a time.
_BLOCK_S = 10.0

# Below this ratio to the louder side, the mid signal counts as silent: -60 dB.
_SILENT_MID = 1e-3


def is_mid_silent(wave: Float[Tensor, "channels samples"]) -> bool:
    """Whether the channels' mean is silent although a channel is not."""
    loudest = float(wave.square().mean(-1).max().sqrt())
    mid = float(wave.mean(0).square().mean().sqrt())
    return loudest > 0 and mid < _SILENT_MID * loudest


def to_mono(
    wave: Float[Tensor, "channels samples"], from_rate: int, to_rate: int
) -> Float[Tensor, "1 new_samples"]:
    """The channels' mean, or the first channel where the mean is silent, at another rate."""
    mono = wave[:1] if is_mid_silent(wave) else wave.mean(0, keepdim=True)
    return resample(mono, from_rate, to_rate)


def read_mono(
    reader: MixtureReader,
    start: int,
    stop: int,
    rate: int,
    *,
    on_cancelled: Callable[[int], None] | None = None,
) -> Float[Tensor, "1 new_samples"]:
    """`to_mono` of a long stretch, read in blocks of ten seconds.

    Args:
        reader: The mixture.
        start: First sample; it keeps its time.
        stop: Where the stretch ends.
        rate: Of the result, Hz.
        on_cancelled: Told the first sample of a block from which on channels cancel each other.
    """
    old, new = whole_period(reader.sample_rate, rate)
    block = old * max(1, round(_BLOCK_S * reader.sample_rate / old))
    n_samples = stop - start
    # Made at once: parts to be joined would stand beside the whole.
    result = torch.empty(1, -(-n_samples * new // old))
    cancelled = False
    for first in range(0, n_samples, block):
        last = min(first + block, n_samples)

        def read(a: int, b: int, first: int = first, last: int = last) -> npt.NDArray[np.float32]:
            nonlocal cancelled
            wave = torch.from_numpy(reader.read(start + a, start + b))
            # The block alone decides, not what it depends on before and behind it.
            cancels = is_mid_silent(wave[:, first - a : last - a])
            if cancels and not cancelled and on_cancelled is not None:
                on_cancelled(start + first)
            cancelled = cancels
            return (wave[:1] if cancels else wave.mean(0, keepdim=True)).numpy()

        place = slice(first // old * new, -(-last * new // old))
        result[:, place] = resample_stretch(
            read, n_samples, reader.sample_rate, rate, place.start, place.stop
        )
    return result
