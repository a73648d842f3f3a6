"""The one signal of a mixture that is analysed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.mixtures import MixtureReader
from lqsep.core.audio.resampling import filter_reach, resample, whole_period

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
    # Before and behind a block, as much as its samples depend on.
    margin = old * -(-filter_reach(old, new) // old)
    # Made at once: parts to be joined would stand beside the whole.
    result = torch.empty(1, -(-(stop - start) * new // old))
    cancelled = False
    for first in range(start, stop, block):
        last = min(first + block, stop)
        before = min(margin, first - start)
        wave = torch.from_numpy(reader.read(first - before, min(last + margin, stop)).copy())
        own = wave[:, before : before + last - first]
        cancels = is_mid_silent(own)
        if cancels and not cancelled and on_cancelled is not None:
            on_cancelled(first)
        cancelled = cancels
        mono = wave[:1] if cancels else wave.mean(0, keepdim=True)
        skip = before // old * new
        place = (first - start) // old * new
        n_samples = -(-(last - first) * new // old)
        found = resample(mono, reader.sample_rate, rate)[:, skip : skip + n_samples]
        result[:, place : place + n_samples] = found
    return result
