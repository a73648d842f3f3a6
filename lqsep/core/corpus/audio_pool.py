"""All stems of a data set at one rate and in mono, for random clips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.resampling import resample
from lqsep.core.errors import AudioError
from lqsep.core.interfaces.dataset import Dataset, Track
from lqsep.core.training.events import Report, TrainNote, say_nothing
from lqsep.core.training.settings import ReadingSettings
from lqsep.core.training.shared_tensors import held_once

if TYPE_CHECKING:
    from lqsep.core.components.assemble import TrainContext

# A stem this quiet (RMS, -80 dB) is taken as silence and not brought to any level.
_SILENT_RMS = 1e-4

# A near-silent mixture is not blown up beyond this factor (40 dB), so silence stays silence.
MAX_GAIN = 100.0


@dataclass(frozen=True)
class Reading:
    """Which tracks of a data set may be left out, and who is told.

    Args:
        min_duration: Shorter tracks are left out, seconds.
        max_unreadable: Share of the tracks that may be unreadable, from 0 to 1; they are left out.
        report: Told of every track that is left out.
    """

    min_duration: float = 0.0
    max_unreadable: float = 0.0
    report: Report = say_nothing

    @classmethod
    def for_training(cls, settings: ReadingSettings, report: Report) -> Reading:
        """What a trainer's settings allow."""
        return cls(settings.min_duration, settings.max_unreadable, report)

    def note(self, text: str) -> None:
        """Tell a sentence."""
        self.report(TrainNote(text))


STRICT = Reading()


class AudioPool:
    """Waves of every source, read and resampled once.

    Args:
        dataset: Tracks with stems.
        sources: Which stems.
        sample_rate: Hz.
        level: RMS to which every stem is brought as a whole; None leaves stems as they are.
        reading: What may be left out; by default an unreadable track is an error.
        blend: Clips of stereo tracks weigh left and right at random, evenly from one alone to the
            other, instead of equally.
        held_together: All processes make this pool, and those of one machine hold one copy of the
            waves, see `lqsep.core.training.shared_tensors`; collective then.

    Attributes:
        waves: Per source, one wave (``samples``) per track, its channels averaged.

    Raises:
        AudioError: There is no audio, more of it is unreadable than allowed, or all of it has a
            lower rate than ``sample_rate``.
    """

    def __init__(
        self,
        dataset: Dataset,
        sources: Sequence[str],
        sample_rate: int,
        *,
        level: float | None = None,
        reading: Reading = STRICT,
        blend: bool = False,
        held_together: bool = False,
    ) -> None:
        self.sources, self._blend = tuple(sources), blend
        read = _waves(dataset, self.sources, sample_rate, level, reading, blend)
        waves = held_once(read) if held_together else list(read)
        starts, stride = range(0, 2 * len(sources), 2), 2 * len(sources)
        self.waves = [waves[start::stride] for start in starts]
        # Half the difference of left and right, empty where they are not blended.
        self._sides = [waves[start + 1 :: stride] for start in starts]
        if not any(wave.numel() for waves in self.waves for wave in waves):
            least = f" of {reading.min_duration:g} s and more" if reading.min_duration else ""
            raise AudioError(
                f"training: no audio{least} found for {', '.join(self.sources)} in "
                f"{len(dataset)} tracks."
            )

    @classmethod
    def for_training(
        cls,
        context: TrainContext,
        settings: ReadingSettings,
        dataset: Dataset,
        *,
        sample_rate: int,
        level: float | None,
        sources: Sequence[str] | None = None,
        blend: bool = False,
        held_together: bool = False,
    ) -> AudioPool:
        """What a trainer reads: stems that stand as they do in a mixture of ``level``.

        Args:
            context: Of the trainer; its ``report`` is told of what is left out.
            settings: What may be left out.
            dataset: The context's training or validation data.
            sample_rate: Of the codec, Hz.
            level: RMS to which the codec brings mixtures; None where it does not.
            sources: Which stems; by default all.
            blend: As of the class.
            held_together: As of the class.
        """
        return cls(
            dataset,
            context.sources if sources is None else sources,
            sample_rate,
            level=stem_level(level, context.gains),
            reading=Reading.for_training(settings, context.report),
            blend=blend,
            held_together=held_together,
        )

    def clip(
        self, source: int, n_samples: int, generator: torch.Generator
    ) -> Float[Tensor, " samples"]:
        """A random clip of a random track; a shorter track is padded with zeros at the end."""
        track = int(torch.randint(len(self.waves[source]), (), generator=generator))
        wave = self.waves[source][track]
        latest = max(wave.shape[0] - n_samples, 0)
        start = int(torch.randint(latest + 1, (), generator=generator))
        clip = wave[start : start + n_samples]
        if self._blend:
            weight = 2 * torch.rand((), generator=generator) - 1
            side = self._sides[source][track]
            if len(side):
                clip = clip + weight * side[start : start + n_samples]
        return torch.nn.functional.pad(clip, (0, n_samples - clip.shape[0]))


def stem_level(mixture_level: float | None, gains: Sequence[float]) -> float | None:
    """RMS of equally loud, independent stems whose mixture at ``gains`` has ``mixture_level``."""
    return None if mixture_level is None else mixture_level / math.hypot(*gains)


def mixture_scale(wave: Float[Tensor, "*rows samples"], level: float | None) -> float:
    """Factor that brings a mixture to a codec's level, at most ``MAX_GAIN``; 1 without a level."""
    rms = float(wave.double().square().mean().sqrt()) if wave.numel() else 0.0
    return 1.0 if level is None or rms == 0.0 else min(level / rms, MAX_GAIN)


def _level_factor(wave: Tensor, level: float | None) -> float:
    rms = float(wave.square().mean().sqrt()) if wave.numel() else 0.0
    return 1.0 if level is None or rms < _SILENT_RMS else level / rms


def _waves(
    dataset: Dataset,
    sources: Sequence[str],
    sample_rate: int,
    level: float | None,
    reading: Reading,
    blend: bool,
) -> Iterator[Tensor]:
    """Of every track and source the mean of its channels and half their difference."""
    rates = []
    for track in _tracks(dataset, sources, reading):
        rates.append(track.sample_rate)
        for source in sources:
            channels = torch.from_numpy(track.stems[source]).float()
            wave = resample(channels.mean(0), track.sample_rate, sample_rate)
            factor = _level_factor(wave, level)
            yield wave if factor == 1 else wave * factor
            if blend and len(channels) == 2:
                side = (channels[0] - channels[1]) * (factor / 2)
                yield resample(side, track.sample_rate, sample_rate)
            else:
                yield torch.zeros(0)
    _check_rates(rates, sample_rate, reading)


def _tracks(dataset: Dataset, sources: Sequence[str], reading: Reading) -> Iterator[Track]:
    """The tracks that can be read and are long enough."""
    allowed, unreadable = reading.max_unreadable * len(dataset), 0
    for index in range(len(dataset)):
        try:
            track = dataset[index]
            _check_finite(track, sources)
        except AudioError as error:
            unreadable += 1
            if unreadable > allowed:
                if not reading.max_unreadable:
                    raise
                raise AudioError(
                    f"training: {unreadable} tracks cannot be read, expected at most "
                    f"{reading.max_unreadable:g} of {len(dataset)} (max_unreadable). The last of "
                    f"them: {error} `lqsep data check` lists them all."
                ) from error
            reading.note(f"left out, unreadable ({unreadable}): {error}")
            continue
        seconds = track.stems[sources[0]].shape[-1] / track.sample_rate
        if seconds < reading.min_duration:
            reading.note(f"left out, too short: {track.name} lasts {seconds:.3g} s")
            continue
        yield track


def _check_finite(track: Track, sources: Sequence[str]) -> None:
    for source in sources:
        if not torch.from_numpy(track.stems[source]).isfinite().all():
            raise AudioError(f"{track.name}: {source} has samples that are no numbers.")


def _check_rates(rates: Sequence[int], sample_rate: int, reading: Reading) -> None:
    """Audio of a lower rate is silent above half of it: a codec would learn that all audio is."""
    lower = [rate for rate in rates if rate < sample_rate]
    if rates and len(lower) == len(rates):
        raise AudioError(
            f"training: the codec works at {sample_rate} Hz, but all tracks have a lower rate (up "
            f"to {max(rates)} Hz). Set codec.sample_rate to theirs, or use better recordings."
        )
    if lower:
        reading.note(
            f"{len(lower)} of {len(rates)} tracks have a lower rate than the codec's "
            f"{sample_rate} Hz (down to {min(lower)} Hz): their upper bands are empty"
        )
