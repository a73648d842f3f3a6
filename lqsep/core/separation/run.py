"""One input on its way through a separator, segment after segment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.mixtures import MixtureReader, warnings_of
from lqsep.core.audio.mono import read_mono
from lqsep.core.errors import AudioError
from lqsep.core.interfaces.data import Candidates, Mixture, SegmentResult
from lqsep.core.interfaces.sampler import OnFrame
from lqsep.core.separation.report import InputReport, SegmentReport, SeparationReport
from lqsep.core.separation.segments import CrossFader, Segment, SegmentPlan, plan_segments
from lqsep.core.signal.disagreement import disagreement

if TYPE_CHECKING:
    from lqsep.core.separation.separator import Separator
    from lqsep.core.separation.stretch import SampledStretch

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
    """One input on its way through a separator: iterate over it, then ask for the report.

    Iterating gives `StemBlock` values in order; together they cover the input exactly.
    """

    def __init__(
        self,
        separator: Separator,
        reader: MixtureReader,
        seed: int,
        on_progress: OnProgress | None,
    ) -> None:
        if reader.n_samples < 1:
            raise AudioError(f"{reader.name} has no samples; at least one is needed")
        self.reader = reader
        self.plan: SegmentPlan = plan_segments(
            reader.n_samples,
            reader.sample_rate,
            separator.codec.info,
            separator.segment_s,
            separator.overlap,
        )
        self._separator = separator
        self._seed = seed
        self._on_progress = on_progress
        self._segments: list[SegmentReport] = []
        self._warnings = list(warnings_of(reader))
        self._started = time.perf_counter()
        self._elapsed = 0.0

    def __iter__(self) -> Iterator[StemBlock]:
        fader = CrossFader(self.plan)
        for segment, result in self.segments():
            stems = fader.push(segment, result.stems)
            n_samples = stems.shape[-1]
            mixture = self.reader.read(segment.start, segment.start + n_samples)
            yield StemBlock(
                segment.start, stems.cpu(), torch.from_numpy(mixture.copy()), segment, result
            )

    def segments(self) -> Iterator[tuple[Segment, SegmentResult]]:
        """Separate segment after segment, each primed with the codes before it."""
        for segment, sampled in self._sampled():
            wave = torch.from_numpy(self.reader.read(segment.start, segment.stop).copy())
            mixture = Mixture(
                wave.to(self._separator.device), self.reader.sample_rate, self.reader.name
            )
            result = self._separator.finish_segment(mixture, sampled)
            self._segments.append(self._segment_report(segment, result))
            start_s = segment.start / self.reader.sample_rate
            for warning in result.warnings:
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

    def _sampled(self) -> Iterator[tuple[Segment, SampledStretch]]:
        """Segments with their candidates; several are sampled at once if the sampler can."""
        separator, plan = self._separator, self.plan
        hop_length = separator.codec.info.hop_length
        prompt: Tensor | None = None
        for stretch in self._stretches():
            sampled = separator.sample_stretch(
                self._wave(stretch),
                generator=segment_generator(self._seed, stretch[0].index),
                prompt=prompt,
                on_frame=self._on_frame(stretch),
            )
            if separator.prime:
                codes = sampled.candidates.codes
                prompt = codes[:, :, : len(stretch) * plan.hop_frames].transpose(0, 1)
            for place, segment in enumerate(stretch):
                start = place * plan.hop_frames
                # The last one has all that is left: rounding between rates may add a frame.
                is_last = place + 1 == len(stretch)
                stop = sampled.encoded.n_frames if is_last else start + plan.segment_frames
                yield segment, sampled.between(start, stop, hop_length)
                self._elapsed = time.perf_counter() - self._started
                if self._on_progress is not None:
                    done = _SAMPLED_SHARE + (1 - _SAMPLED_SHARE) * (place + 1) / len(stretch)
                    self._on_progress(self._position_s(stretch, done), self._total_s)

    def _stretches(self) -> Iterator[Sequence[Segment]]:
        """Consecutive segments that are sampled together."""
        segments, n_together = self.plan.segments, 1
        codec = self._separator.codec
        if self._separator.sampler.takes_whole_inputs and codec.takes_whole_inputs:
            hop_s = self.plan.hop_frames / codec.info.frame_rate
            n_together = max(1, int(WHOLE_S / hop_s))
        for first in range(0, len(segments), n_together):
            yield segments[first : first + n_together]

    def _wave(self, stretch: Sequence[Segment]) -> Float[Tensor, "channels samples"]:
        """What is analysed of some segments, at the codec's rate and channels."""
        info, rate = self._separator.codec.info, self.reader.sample_rate

        def on_cancelled(sample: int) -> None:
            self._warn(
                f"from {sample / rate:.1f} s on the channels cancel each other: the left channel "
                "is separated instead of their mean"
            )

        wave = read_mono(
            self.reader,
            stretch[0].start,
            stretch[-1].stop,
            info.sample_rate,
            on_cancelled=on_cancelled,
        )
        return wave.to(self._separator.device).expand(info.channels, -1)

    def report(self) -> SeparationReport:
        """What has been run so far."""
        separator, reader = self._separator, self.reader
        return SeparationReport(
            model=separator.name,
            sources=separator.sources,
            codec_fingerprint=separator.codec.fingerprint,
            config=separator.config,
            device=str(separator.device),
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
        return SegmentReport(
            start_s=segment.start / rate,
            stop_s=segment.stop / rate,
            n_frames=int(candidates.codes.shape[-1]),
            n_candidates=candidates.n_candidates,
            log_prior=dict(zip(self._separator.sources, log_prior.tolist(), strict=True)),
            log_likelihood=float(candidates.log_likelihood.cpu().double() @ mean_weights),
            log_evidence=float(candidates.log_evidence.cpu().double() @ mean_weights),
            scores=dict(result.selection.scores),
            sampler=dict(candidates.diagnostics),
            disagreement=self._disagreement(result),
            timings_s=dict(result.timings),
        )

    def _disagreement(self, result: SegmentResult) -> dict[str, list[float]]:
        """Of the first candidates, which count the same: it is the sampler's spread."""
        n_compared = min(_COMPARED, result.candidates.n_candidates)
        waves = result.decoded.chosen(torch.arange(n_compared))
        even = torch.full(waves.shape[:2], 1 / waves.shape[1])
        curves = disagreement(waves, even, self._separator.codec.info.sample_rate)
        return dict(zip(self._separator.sources, curves.tolist(), strict=True))


def segment_generator(seed: int, segment: int) -> torch.Generator:
    """Randomness of one segment: depends on the seed and the segment's number alone."""
    state = np.random.SeedSequence([seed, segment]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))
