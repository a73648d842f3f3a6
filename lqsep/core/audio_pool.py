"""All stems of a data set in memory, at one rate and in mono, for random clips."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.errors import AudioError
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.resampling import resample

# A stem this quiet (RMS, -80 dB) is taken as silence and not brought to any level.
_SILENT_RMS = 1e-4

# A near-silent mixture is not blown up beyond this factor (40 dB), so silence stays silence.
MAX_GAIN = 100.0


class AudioPool:
    """Waves of every source, read and resampled once.

    Args:
        dataset: Tracks with stems.
        sources: Which stems.
        sample_rate: Hz.
        level: RMS to which every stem is brought as a whole; None leaves stems as they are.

    Attributes:
        waves: Per source, one wave (``samples``) per track.

    Raises:
        AudioError: There is no audio.
    """

    def __init__(
        self,
        dataset: Dataset,
        sources: Sequence[str],
        sample_rate: int,
        *,
        level: float | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.waves: list[list[Tensor]] = [[] for _ in sources]
        for index in range(len(dataset)):
            track = dataset[index]
            for waves, source in zip(self.waves, sources, strict=True):
                mono = torch.from_numpy(track.stems[source]).float().mean(0)
                wave = resample(mono, track.sample_rate, sample_rate)
                waves.append(_at_level(wave, level))
        if not all(self.waves) or not any(wave.numel() for waves in self.waves for wave in waves):
            raise AudioError(
                f"training: no audio found for {', '.join(self.sources)} in {len(dataset)} tracks."
            )

    def clip(
        self, source: int, n_samples: int, generator: torch.Generator
    ) -> Float[Tensor, " samples"]:
        """A random clip of a random track; a shorter track is padded with zeros at the end."""
        waves = self.waves[source]
        wave = waves[int(torch.randint(len(waves), (), generator=generator))]
        latest = max(wave.shape[0] - n_samples, 0)
        start = int(torch.randint(latest + 1, (), generator=generator))
        clip = wave[start : start + n_samples]
        return torch.nn.functional.pad(clip, (0, n_samples - clip.shape[0]))


def stem_level(mixture_level: float | None, gains: Sequence[float]) -> float | None:
    """RMS of equally loud, independent stems whose mixture at ``gains`` has ``mixture_level``."""
    return None if mixture_level is None else mixture_level / math.hypot(*gains)


def mixture_scale(wave: Float[Tensor, "*rows samples"], level: float | None) -> float:
    """Factor that brings a mixture to a codec's level, at most ``MAX_GAIN``; 1 without a level."""
    rms = float(wave.double().square().mean().sqrt()) if wave.numel() else 0.0
    return 1.0 if level is None or rms == 0.0 else min(level / rms, MAX_GAIN)


def _at_level(wave: Tensor, level: float | None) -> Tensor:
    rms = float(wave.square().mean().sqrt()) if wave.numel() else 0.0
    return wave if level is None or rms < _SILENT_RMS else wave * (level / rms)
