"""A whole track through the pipeline, and the best that its raw candidates allow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.evaluation.raw_candidates import best_stems
from lqsep.core.evaluation.sound import ItemSound
from lqsep.core.evaluation.stopwatch import Stopwatch
from lqsep.core.separation.segments import CrossFader
from lqsep.core.separation.separator import Separator

Stems = Float[Tensor, "sources channels samples"]


@dataclass(frozen=True)
class TrackRun:
    """A separated track.

    Args:
        stems: The pipeline's result.
        best: Of every segment and source the best candidate by SDR, as decoded, cross-faded.
        n_candidates: In a segment.
        watch: Time of the separation, without the search for the best.
        notes: The pipeline's warnings.
    """

    stems: Stems
    best: Stems
    n_candidates: int
    watch: Stopwatch
    notes: tuple[str, ...]


def separate_track(separator: Separator, sound: ItemSound, seed: int) -> TrackRun:
    """The same stems as `Separator.separate` gives.

    Codes, candidates and spectra are held for a segment at a time, waves for the whole track:
    museval needs them.
    """
    run = separator.stream((sound.mixture.numpy(), sound.sample_rate), seed=seed)
    references, codec_rate = sound.stems, separator.codec.info.sample_rate
    stem_fader, best_fader = CrossFader(run.plan), CrossFader(run.plan)
    stems, best = [], []
    n_candidates, watch = 0, Stopwatch()
    for segment, result in run.segments():
        watch.stop()
        truth = references[..., segment.start : segment.stop]
        found = best_stems(result.decoded, truth, codec_rate, sound.sample_rate)
        stems.append(stem_fader.push(segment, result.stems.cpu()))
        best.append(best_fader.push(segment, found))
        n_candidates = max(n_candidates, result.candidates.n_candidates)
        watch.start()
    notes = tuple(run.report().warnings)
    return TrackRun(torch.cat(stems, -1), torch.cat(best, -1), n_candidates, watch, notes)
