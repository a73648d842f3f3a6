"""Pictures of a separation, beside its stems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lqsep.core.audio.mixtures import MixtureReader
from lqsep.core.inference.joint_scores import joint_scores
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.inference.step_scores import step_scores
from lqsep.core.interfaces.candidates import DecodedCandidates
from lqsep.core.plotting.disagreement import plot_disagreement
from lqsep.core.plotting.matrices import plot_pairs, plot_step
from lqsep.core.plotting.spectrograms import plot_spectrograms
from lqsep.core.separation.output.candidates import ranking
from lqsep.core.separation.output.parts import TrackPart
from lqsep.core.separation.output.pending import PendingFile
from lqsep.core.separation.output.settings import PLOTS, OutputSettings
from lqsep.core.separation.pipeline import Pipeline, SegmentResult
from lqsep.core.separation.run import SeparationRun, StemBlock

# Spectrograms show this much from the beginning, which bounds what is held in memory.
_SHOWN_S = 30.0

# Candidates per source in the picture of pairs, the best ones.
_MOST_CANDIDATES = 128


def plots_beside(
    readers: Mapping[str, MixtureReader] | None = None,
) -> Callable[[Pipeline, SeparationRun, OutputSettings, str], SeparationPlots]:
    """For `lqsep.write_track`: pictures of a track, with its references if there are any."""
    return lambda pipeline, run, output, track: SeparationPlots(
        pipeline, run, output, track, readers or {}
    )


class SeparationPlots(TrackPart):
    """Spectrograms of the beginning, the whole's disagreement; one step and pairs of candidates.

    Step and pairs are those of the first segment. The step is its middle frame, after the best
    candidate's codes up to there, under the likelihood as the sampler left it. The pairs
    are those of the selector ``rejection``, whichever selector made the choice.

    Args:
        pipeline: Gives the priors.
        run: The separation.
        output: Where the pictures go.
        track: Its name.
        readers: References by source, of the mixture's form, before their gains; drawn beside the
            stems.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        run: SeparationRun,
        output: OutputSettings,
        track: str,
        readers: Mapping[str, MixtureReader],
    ) -> None:
        self._pipeline = pipeline
        self._run = run
        self._readers = readers
        self._rate = run.reader.sample_rate
        self._n_shown = min(run.reader.n_samples, round(_SHOWN_S * self._rate))
        self._mixture: list[Tensor] = []
        self._stems: list[Tensor] = []
        paths = output.further_paths(track)
        self._files = {name: PendingFile(paths[name]) for name in PLOTS}

    def push(self, block: StemBlock) -> None:
        if block.start < self._n_shown:
            shown = self._n_shown - block.start
            self._mixture.append(block.mixture[:, :shown].mean(0, keepdim=True))
            self._stems.append(block.stems[..., :shown].mean(1, keepdim=True))
        if block.segment.index == 0:
            self._draw_step(block.result)
            self._draw_pairs(block.result)

    def finish(self) -> None:
        pipeline = self._pipeline
        references = {
            source: reader.read(0, min(self._n_shown, reader.n_samples))
            * pipeline.gains[pipeline.sources.index(source)]
            for source, reader in self._readers.items()
        }
        stems = torch.cat(self._stems, -1)
        plot_spectrograms(
            torch.cat(self._mixture, -1),
            dict(zip(pipeline.sources, stems, strict=True)),
            self._rate,
            self._files["spectrograms.png"].part,
            references,
        )
        segments = self._run.report().segments
        plot_disagreement(segments, self._files["disagreement.png"].part)

    def commit(self) -> None:
        for file in self._files.values():
            file.commit()

    def discard(self) -> None:
        for file in self._files.values():
            file.discard()

    def _draw_step(self, result: SegmentResult) -> None:
        codes = result.candidates.codes[:, ranking(result)[0]]
        frame = codes.shape[1] // 2
        pipeline = self._pipeline
        with torch.inference_mode():
            posterior = SequencePosterior(tuple(pipeline.priors.values()), result.bound)
            scores = step_scores(posterior, codes, frame)
        time_s = frame / pipeline.codec.info.frame_rate
        plot_step(scores, pipeline.sources, self._files["step.png"].part, time_s=time_s)

    def _draw_pairs(self, result: SegmentResult) -> None:
        shown = ranking(result)[:_MOST_CANDIDATES].sort().values
        scores = joint_scores(_some(result.decoded, shown))
        weights = result.selection.weights.cpu()[:, shown]
        picks = weights.argmax(1).tolist() if bool((weights.amax(1) == 1).all()) else None
        title = f"pairs of {len(shown)} candidates, first segment"
        if len(shown) < result.candidates.n_candidates:
            title += f" (the best of {result.candidates.n_candidates})"
        plot_pairs(
            scores.log_prior,
            scores.error,
            scores.log_posterior,
            picks,
            self._pipeline.sources,
            self._files["pairs.png"].part,
            numbers=shown.tolist(),
            title=title,
        )


def _some(decoded: DecodedCandidates, kept: Tensor) -> DecodedCandidates:
    """The same with some of the candidates only."""
    candidates = decoded.candidates
    return DecodedCandidates(
        replace(
            candidates,
            codes=candidates.codes[:, kept],
            log_prior=candidates.log_prior[:, kept],
            log_likelihood=candidates.log_likelihood[kept],
            log_evidence=candidates.log_evidence[kept],
            log_proposal=None,
            frame_scores=None,
            whole_log_posterior=None,
        ),
        decoded.chosen(kept),
        decoded.mixture,
        decoded.gains,
    )
