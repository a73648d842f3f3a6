"""One input on its way through a separator, segment after segment."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.mixtures import FileReader, MixtureReader, warnings_of
from lqsep.core.audio.mono import read_mono
from lqsep.core.errors import AudioError, ConfigError
from lqsep.core.interfaces.candidates import Candidates
from lqsep.core.interfaces.data import EncodedMixture, Mixture
from lqsep.core.interfaces.sampler import OnFrame
from lqsep.core.separation.clock import StageClock
from lqsep.core.separation.pipeline import Pipeline, SegmentResult
from lqsep.core.separation.report import InputReport, SegmentReport, SeparationReport
from lqsep.core.separation.segments import CrossFader, Segment, SegmentPlan, plan_segments
from lqsep.core.separation.unheard import HeardReader
from lqsep.core.signal.disagreement import disagreement

OnProgress = Callable[[float, float], None]
"""Called as ``on_progress(done_s, total_s)``, in seconds of audio."""

WHOLE_S = 1200.0
"""Seconds that samplers and codecs which take whole inputs are given at once, at most: memory grows
with them (with the shipped model by 0.3 MB per second)."""

# Share of the work that sampling is, for the progress.
_SAMPLED_SHARE = 0.9

# Candidates whose disagreement is reported; each has to be decoded.
_COMPARED = 8


@dataclass(frozen=True)
class StemBlock:
    """Finished stretch of the stems, from sample ``start`` on, with the mixture beside it.

    ``segment`` and ``result`` are what it was finished by; see `CrossFader.push` for how they give
    the stems.
    """

    start: int
    stems: Float[Tensor, "sources channels samples"]
    mixture: Float[Tensor, "channels samples"]
    segment: Segment
    result: SegmentResult


class SeparationRun:
    """One input on its way through a pipeline: iterate over it, then ask for the report.

    Iterating gives `StemBlock` values in order; together they cover the input exactly. Iterating
    again does the same work once more, and the report is that of the iteration begun last.

    Args:
        pipeline: What it goes through.
        reader: The input.
        seed: 0 or above; the same seed gives the same stems.
        on_progress: Called with the seconds of audio done and in all.
        closes: Whether `close` closes the reader.

    Raises:
        AudioError: There are no samples.
        ConfigError: The seed is no whole number of 0 or more.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        reader: MixtureReader,
        seed: int = 0,
        on_progress: OnProgress | None = None,
        *,
        closes: bool = False,
    ) -> None:
        self.reader = reader
        self._closes = closes
        try:
            if reader.n_samples < 1:
                raise AudioError(f"{reader.name} has no samples; at least one is needed")
            self._seed = check_seed(seed)
        except BaseException:
            self.close()
            raise
        self.plan: SegmentPlan = plan_segments(
            reader.n_samples,
            reader.sample_rate,
            pipeline.codec.info,
            pipeline.segment_s,
            pipeline.overlap,
        )
        self._pipeline = pipeline
        self._heard = HeardReader(reader, pipeline.codec.info.lowest_hz)
        self._on_progress = on_progress
        self._start()

    def _start(self) -> None:
        """Nothing has been run so far."""
        self._segments: list[SegmentReport] = []
        self._warnings = list(warnings_of(self.reader))
        self._started = time.perf_counter()
        self._elapsed = 0.0

    def close(self) -> None:
        """Close the file that was opened for this run."""
        if self._closes and isinstance(self.reader, FileReader):
            self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[StemBlock]:
        fader = CrossFader(self.plan)
        for segment, result in self.segments():
            stems = fader.push(segment, result.stems)
            n_samples = stems.shape[-1]
            mixture = self.reader.read(segment.start, segment.start + n_samples)
            yield StemBlock(segment.start, stems.cpu(), torch.from_numpy(mixture), segment, result)

    def segments(self) -> Iterator[tuple[Segment, SegmentResult]]:
        """Separate segment after segment, each primed with the codes before it."""
        for segment, sampled in self._sampled():
            mixture = self._mixture(segment)
            result = self._pipeline.render(
                mixture, sampled.encoded, sampled.candidates, clock=sampled.clock
            )
            self._segments.append(self._segment_report(segment, result))
            start_s = segment.start / self.reader.sample_rate
            for warning in result.bound.warnings:
                if warning not in self._warnings:
                    self._warn(warning)
            for warning in result.candidates.warnings:
                self._warn(f"from {start_s:.1f} s on: {warning}")
            self._elapsed = time.perf_counter() - self._started
            yield segment, result

    def candidates(self) -> Iterator[tuple[Segment, Candidates]]:
        """Like `segments`, but nothing is decoded: the sampler's candidates only."""
        for segment, sampled in self._sampled():
            yield segment, sampled.candidates

    def _mixture(self, segment: Segment) -> Mixture:
        """A segment's samples, on the pipeline's device."""
        device, reader = self._pipeline.device, self.reader
        heard, rest = self._heard.split(segment.start, segment.stop)
        wave = torch.from_numpy(heard).to(device)
        unheard = None if rest is None else torch.from_numpy(rest).to(device)
        return Mixture(wave, reader.sample_rate, reader.name, unheard)

    def _sampled(self) -> Iterator[tuple[Segment, _Sampled]]:
        """Segments with their candidates; several are sampled at once if the sampler can."""
        pipeline, plan = self._pipeline, self.plan
        hop_length = pipeline.codec.info.hop_length
        prompt: Tensor | None = None
        self._start()
        for stretch in self._stretches():
            clock = StageClock()
            encoded = pipeline.analyse(self._wave(stretch), clock=clock)
            candidates = pipeline.infer(
                encoded,
                generator=segment_generator(self._seed, stretch[0].index),
                prompt=prompt,
                on_frame=self._on_frame(stretch),
                clock=clock,
            )
            sampled = _Sampled(encoded, candidates, clock)
            if pipeline.prime:
                codes = candidates.codes
                prompt = codes[:, :, : len(stretch) * plan.hop_frames].transpose(0, 1)
            for place, segment in enumerate(stretch):
                start = place * plan.hop_frames
                # The last one has all that is left: rounding between rates may add a frame.
                is_last = place + 1 == len(stretch)
                stop = encoded.n_frames if is_last else start + plan.segment_frames
                yield segment, sampled.between(start, stop, hop_length)
                self._elapsed = time.perf_counter() - self._started
                if self._on_progress is not None:
                    done = _SAMPLED_SHARE + (1 - _SAMPLED_SHARE) * (place + 1) / len(stretch)
                    self._on_progress(self._position_s(stretch, done), self._total_s)

    def _stretches(self) -> Iterator[Sequence[Segment]]:
        """Consecutive segments that are sampled together."""
        segments, n_together = self.plan.segments, 1
        info = self._pipeline.codec.info
        if self._pipeline.sampler.takes_whole_inputs and info.takes_whole_inputs:
            hop_s = self.plan.hop_frames / info.frame_rate
            n_together = max(1, int(WHOLE_S / hop_s))
        for first in range(0, len(segments), n_together):
            yield segments[first : first + n_together]

    def _wave(self, stretch: Sequence[Segment]) -> Float[Tensor, "channels samples"]:
        """What is analysed of some segments, at the codec's rate and channels."""
        info, rate = self._pipeline.codec.info, self.reader.sample_rate

        def on_cancelled(sample: int) -> None:
            self._warn(
                f"from {sample / rate:.1f} s on the channels cancel each other: the left channel "
                "is separated instead of their mean"
            )

        wave = read_mono(
            self._heard,
            stretch[0].start,
            stretch[-1].stop,
            info.sample_rate,
            on_cancelled=on_cancelled,
        )
        return wave.to(self._pipeline.device).expand(info.channels, -1)

    def report(self) -> SeparationReport:
        """What has been run so far."""
        pipeline, reader = self._pipeline, self.reader
        return SeparationReport(
            model=pipeline.name,
            sources=pipeline.sources,
            codec_fingerprint=pipeline.codec.fingerprint,
            config=pipeline.config,
            device=str(pipeline.device),
            seed=self._seed,
            input=InputReport(
                reader.name, reader.sample_rate, reader.channels, reader.n_samples, self._total_s
            ),
            segments=tuple(self._segments),
            elapsed_s=self._elapsed,
            warnings=tuple(self._warnings),
        )

    @property
    def _total_s(self) -> float:
        return self.reader.n_samples / self.reader.sample_rate

    def _warn(self, message: str) -> None:
        self._warnings.append(message)

    def _position_s(self, stretch: Sequence[Segment], done: float) -> float:
        """Seconds of audio that count as done when a share of some segments is."""
        start, stop = stretch[0].start, stretch[-1].stop
        return (start + (stop - start) * done) / self.reader.sample_rate

    def _on_frame(self, stretch: Sequence[Segment]) -> OnFrame | None:
        callback = self._on_progress
        if callback is None:
            return None

        def on_frame(done: int, total: int) -> None:
            position_s = self._position_s(stretch, _SAMPLED_SHARE * done / total)
            callback(position_s, self._total_s)

        return on_frame

    def _segment_report(self, segment: Segment, result: SegmentResult) -> SegmentReport:
        candidates, weights = result.candidates, result.selection.weights.cpu().double()
        mean_weights = weights.mean(0)
        log_prior = (candidates.log_prior.cpu().double() * weights).sum(1)
        rate = self.reader.sample_rate
        clock = StageClock(result.timings)
        with clock("compare"):
            curves = self._disagreement(result)
        return SegmentReport(
            start_s=segment.start / rate,
            stop_s=segment.stop / rate,
            n_frames=int(candidates.codes.shape[-1]),
            n_candidates=candidates.n_candidates,
            log_prior=dict(zip(self._pipeline.sources, log_prior.tolist(), strict=True)),
            log_likelihood=float(candidates.log_likelihood.cpu().double() @ mean_weights),
            log_evidence=float(candidates.log_evidence.cpu().double() @ mean_weights),
            scores=dict(result.selection.scores),
            sampler=dict(candidates.diagnostics),
            disagreement=curves,
            timings_s=clock.seconds,
        )

    def _disagreement(self, result: SegmentResult) -> dict[str, list[float]]:
        """Of the first candidates, which count the same: it is the sampler's spread."""
        n_compared = min(_COMPARED, result.candidates.n_candidates)
        waves = result.decoded.chosen(torch.arange(n_compared))
        even = torch.full(waves.shape[:2], 1 / waves.shape[1])
        curves = disagreement(waves, even, self._pipeline.codec.info.sample_rate)
        return dict(zip(self._pipeline.sources, curves.tolist(), strict=True))


@dataclass(frozen=True)
class _Sampled:
    """A stretch of the mixture between sampling and decoding.

    Args:
        encoded: At the codec's rate.
        candidates: Of the same frames.
        clock: Time spent on it so far.
    """

    encoded: EncodedMixture
    candidates: Candidates
    clock: StageClock

    def between(self, start: int, stop: int, hop_length: int) -> _Sampled:
        """The frames ``start`` to ``stop``; the time spent stands with the first of them."""
        if start == 0 and stop == self.encoded.n_frames:
            return self
        return _Sampled(
            self.encoded.between(start, stop, hop_length),
            self.candidates.between(start, stop),
            StageClock() if start else self.clock,
        )


def check_seed(seed: int) -> int:
    """The seed.

    Raises:
        ConfigError: It is no whole number of 0 or more.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise ConfigError(f"seed: expected a whole number, 0 or more, got {seed!r}")
    return number


def segment_generator(seed: int, segment: int) -> torch.Generator:
    """Randomness of one segment: depends on the seed and the segment's number alone.

    Raises:
        ConfigError: The seed is no whole number of 0 or more.
    """
    state = np.random.SeedSequence([check_seed(seed), segment]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))
