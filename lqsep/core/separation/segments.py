"""Segments of long inputs: where they lie, and how their results are joined.

A segment is a stretch of audio that is separated at a time, so that memory does not grow with the
file. Consecutive segments overlap and are cross-faded. (Windows over a prior's context are another
matter, handled in `lqsep.core.inference.posterior`.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.interfaces.codec import CodecInfo


@dataclass(frozen=True)
class Segment:
    """Samples ``start`` to ``stop`` of the mixture, at its own rate."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True)
class SegmentPlan:
    """All segments of an input.

    Args:
        segments: In order; the first starts at 0, the last stops at the end.
        hop_frames: Code frames from one segment's start to the next one's.
        segment_frames: Code frames of a segment; the last one may have fewer.
    """

    segments: tuple[Segment, ...]
    hop_frames: int
    segment_frames: int


def plan_segments(
    n_samples: int, sample_rate: int, codec: CodecInfo, segment_s: float, overlap: float
) -> SegmentPlan:
    """Cut an input into overlapping segments.

    Starts lie on the codec's frame grid (to the nearest sample of the mixture), so that a segment
    can be primed with the codes of the previous one.

    Args:
        n_samples: Length of the input at ``sample_rate``.
        sample_rate: Of the input, Hz.
        codec: Facts of the codec.
        segment_s: Length of a segment in seconds.
        overlap: Share of a segment that overlaps the next one, in [0, 1).
    """
    frame_rate = codec.frame_rate
    segment_frames = max(1, round(segment_s * frame_rate))
    hop_frames = max(1, round(segment_frames * (1 - overlap)))
    segments: list[Segment] = []
    while not segments or segments[-1].stop < n_samples:
        index = len(segments)
        first = index * hop_frames
        start = round(first / frame_rate * sample_rate)
        stop = min(n_samples, round((first + segment_frames) / frame_rate * sample_rate))
        segments.append(Segment(index, start, stop))
    return SegmentPlan(tuple(segments), hop_frames, segment_frames)


class CrossFader:
    """Joins the results of overlapping segments; gives out samples as soon as they are final.

    The fade is linear over the whole overlap, so that equal content passes unchanged.
    """

    def __init__(self, plan: SegmentPlan) -> None:
        self._final_stops = [stop for _, stop in blocks(plan)]
        self._tail: Tensor | None = None

    def push(
        self, segment: Segment, stems: Float[Tensor, "sources channels samples"]
    ) -> Float[Tensor, "sources channels final_samples"]:
        """Add one segment's stems, in order; returns what no later segment will change."""
        if self._tail is not None:
            n_fade = min(self._tail.shape[-1], stems.shape[-1])
            ramp = (torch.arange(n_fade, dtype=stems.dtype, device=stems.device) + 0.5) / max(
                n_fade, 1
            )
            stems = stems.clone()
            stems[..., :n_fade] = stems[..., :n_fade] * ramp + self._tail[..., :n_fade] * (1 - ramp)
        n_final = self._final_stops[segment.index] - segment.start
        self._tail = stems[..., n_final:]
        return stems[..., :n_final]


def blocks(plan: SegmentPlan) -> Iterator[tuple[int, int]]:
    """The stretches that `CrossFader.push` gives out, as ``(start, stop)`` samples."""
    for segment in plan.segments:
        last = segment.index + 1 == len(plan.segments)
        stop = segment.stop if last else plan.segments[segment.index + 1].start
        yield segment.start, stop
