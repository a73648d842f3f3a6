"""Scores of a separation against recordings of its sources."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lqsep.core.audio.mixtures import MixtureReader, warnings_of
from lqsep.core.separation.output.parts import TrackPart
from lqsep.core.separation.pipeline import Pipeline
from lqsep.core.separation.references import codec_round_trip
from lqsep.core.separation.run import SeparationRun, StemBlock
from lqsep.core.separation.segments import CrossFader
from lqsep.core.signal.running_scores import RunningScore

# Estimates and references, as evaluations name them too.
RESULT = "lqsep"
CODEC = "codec"
ORIGINAL = "original"
DECODED = "decoded"

# A mixture whose level is further off that of its references is worth a word.
_LEVEL_TOLERANCE = 0.05


class ReferenceScores(TrackPart):
    """Scores of the stems against the references times their gains.

    Each stem is compared with the recording itself and with what the codec makes of it inside the
    mixture; so is, for comparison, the mixture divided by the number of sources. The codec's round
    trip against the recording says what decoded codes could reach.

    Args:
        pipeline: Gives codec and gains.
        run: The separation.
        readers: References by source, of the mixture's form, before their gains.
    """

    def __init__(
        self, pipeline: Pipeline, run: SeparationRun, readers: Mapping[str, MixtureReader]
    ) -> None:
        self._pipeline = pipeline
        self._mixture = run.reader
        self._readers = readers
        self._sources = [pipeline.sources.index(source) for source in readers]
        self._n_total = run.reader.n_samples
        self._rate = run.reader.sample_rate
        self._n_scored = min(self._n_total, *(reader.n_samples for reader in readers.values()))
        self._fader = CrossFader(run.plan)
        self._scores: dict[tuple[str, str, str], RunningScore] = {}
        # Of the mixture with the sum of the references times their gains, and of that sum.
        self._products = [0.0, 0.0]

    def push(self, block: StemBlock) -> None:
        decoded = self._fader.push(block.segment, self._decoded(block))
        n_samples = min(self._n_scored - block.start, block.stems.shape[-1])
        if n_samples < 1:
            return
        share = block.mixture[:, :n_samples] / len(self._pipeline.sources)
        share_name = f"mixture/{len(self._pipeline.sources)}"
        total = 0 * share
        for place, (source, index) in enumerate(zip(self._readers, self._sources, strict=True)):
            gain = self._pipeline.gains[index]
            original = self._read(source, block.start, block.start + n_samples) * gain
            total = total + original
            # The codec's channel, on all channels of the mixture.
            trip = decoded[place, :, :n_samples].expand_as(original).cpu()
            stem = block.stems[index, :, :n_samples]
            for estimate, wave in ((RESULT, stem), (share_name, share)):
                self._push(estimate, source, ORIGINAL, original, wave)
                self._push(estimate, source, DECODED, trip, wave)
            self._push(CODEC, source, ORIGINAL, original, trip)
        self._products[0] += float((block.mixture[:, :n_samples] * total).sum())
        self._products[1] += float(total.square().sum())

    def results(self) -> tuple[dict[str, Any], ...]:
        """One entry per estimate, source and reference; plain values, dB or None."""
        return tuple(
            {
                "estimate": estimate,
                "source": source,
                "reference": reference,
                **{name: _finite(value) for name, value in asdict(score.result()).items()},
            }
            for (estimate, source, reference), score in self._scores.items()
        )

    def warnings(self) -> list[str]:
        notes = [
            f"{reader.name}: {warning}"
            for reader in self._readers.values()
            for warning in warnings_of(reader)
        ]
        if self._n_scored < self._n_total:
            notes.append(
                f"the references end at {self._n_scored / self._rate:.2f} s of "
                f"{self._n_total / self._rate:.2f} s; what follows is not scored"
            )
        product, energy = self._products
        is_complete = len(self._sources) == len(self._pipeline.sources)
        if is_complete and energy and abs(product / energy - 1) > _LEVEL_TOLERANCE:
            notes.append(
                f"the mixture is {product / energy:.2f} times as loud as the sum of its references "
                "times their gains: the SDR counts this difference of level, the SI-SDR does not"
            )
        return notes

    def _decoded(self, block: StemBlock) -> Tensor:
        """The codec's round trips of one segment, times their gains; ``sources 1 samples``."""
        segment, pipeline = block.segment, self._pipeline
        codec, scale = pipeline.codec, block.result.encoded.scale
        mixture = block.result.encoded.wave
        length, trips = segment.stop - segment.start, []
        for source, index in zip(self._readers, self._sources, strict=True):
            stop = min(segment.stop, self._readers[source].n_samples)
            if stop <= segment.start:
                trips.append(torch.zeros(1, length))
                continue
            wave = self._read(source, segment.start, stop)
            with torch.inference_mode():
                trip = codec_round_trip(codec, wave, mixture, self._rate, index, scale)
            trip = trip * pipeline.gains[index]
            trips.append(pad(trip, (0, length - trip.shape[-1])))
        return torch.stack(trips)

    def _read(self, source: str, start: int, stop: int) -> Tensor:
        return torch.from_numpy(self._readers[source].read(start, stop).copy())

    def _push(
        self, estimate: str, source: str, reference: str, truth: Tensor, wave: Tensor
    ) -> None:
        score = self._scores.setdefault((estimate, source, reference), RunningScore(self._rate))
        score.push(truth, wave)


def _finite(value: float | int) -> float | int | None:
    return value if math.isfinite(value) else None
