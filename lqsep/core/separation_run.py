"""One input on its way through a separator, segment after segment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.data import Candidates, Mixture, SegmentResult
from lqsep.core.disagreement import disagreement
from lqsep.core.errors import AudioError
from lqsep.core.interfaces.sampler import OnFrame
from lqsep.core.readers import MixtureReader
from lqsep.core.report import InputReport, SegmentReport, SeparationReport
from lqsep.core.windows import CrossFader, Segment, SegmentPlan, plan_segments

if TYPE_CHECKING:
    from lqsep.core.pipeline import Separator

OnProgress = Callable[[float, float], None]
"""Called as ``on_progress(done_s, total_s)``, in seconds of audio."""

Result = TypeVar("Result")

# Below this ratio to the louder side, the mid signal counts as silent: -60 dB.
_SILENT_MID = 1e-3


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
        self._warnings: list[str] = []
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
        """Separate segment after segment, each primed with the previous one's last codes."""
        for segment, result in self._walk(self._separator.separate_segment, _candidates_of):
            self._segments.append(self._segment_report(segment, result))
            start_s = segment.start / self.reader.sample_rate
            for warning in result.warnings:
                if warning not in self._warnings:
                    self._warn(warning)
            for warning in result.candidates.warnings:
                self._warn(f"from {start_s:.1f} s on: {warning}")
            yield segment, result

    def candidates(self) -> Iterator[tuple[Segment, Candidates]]:
        """Like `segments`, but nothing is decoded: the sampler's candidates only."""
        return self._walk(self._separator.sample_segment, lambda candidates: candidates)

    def _walk(
        self, process: Callable[..., Result], candidates_of: Callable[[Result], Candidates]
    ) -> Iterator[tuple[Segment, Result]]:
        prompt: Tensor | None = None
        separator = self._separator
        for segment in self.plan.segments:
            wave = torch.from_numpy(self.reader.read(segment.start, segment.stop).copy())
            mixture = Mixture(wave.to(separator.device), self.reader.sample_rate, self.reader.name)
            if mixture.wave.shape[0] > 1 and is_mid_silent(mixture.wave):
                self._warn(
                    f"from {segment.start / self.reader.sample_rate:.1f} s on the channels cancel "
                    "each other: the left channel is separated instead of their mean"
                )
            result = process(
                mixture,
                generator=segment_generator(self._seed, segment.index),
                prompt=prompt,
                on_frame=self._on_frame(segment),
            )
            if separator.prime:
                codes = candidates_of(result).codes
                prompt = codes[:, :, : self.plan.hop_frames].transpose(0, 1)
            self._elapsed = time.perf_counter() - self._started
            if self._on_progress is not None:
                self._on_progress(segment.stop / self.reader.sample_rate, self._total_s)
            yield segment, result

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

    def _on_frame(self, segment: Segment) -> OnFrame | None:
        callback = self._on_progress
        if callback is None:
            return None
        rate, total_s = self.reader.sample_rate, self._total_s

        def on_frame(done: int, total: int) -> None:
            position = segment.start + (segment.stop - segment.start) * done / total
            callback(position / rate, total_s)

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
        """All candidates count the same: it is the sampler's spread, not the selector's choice."""
        waves = result.decoded.waves
        even = torch.full(waves.shape[:2], 1 / waves.shape[1])
        curves = disagreement(waves, even, self._separator.codec.info.sample_rate)
        return dict(zip(self._separator.sources, curves.tolist(), strict=True))


def is_mid_silent(wave: Float[Tensor, "channels samples"]) -> bool:
    """Whether the channels' mean is silent although a channel is not."""
    loudest = float(wave.square().mean(-1).max().sqrt())
    mid = float(wave.mean(0).square().mean().sqrt())
    return loudest > 0 and mid < _SILENT_MID * loudest


def segment_generator(seed: int, segment: int) -> torch.Generator:
    """Randomness of one segment: depends on the seed and the segment's number alone."""
    state = np.random.SeedSequence([seed, segment]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))


def _candidates_of(result: SegmentResult) -> Candidates:
    return result.candidates
