"""The best candidates as stems, and all of them as codes and scores.

Every segment's candidates are ranked by the weight that the selector gave them (mean over the
sources), then by log posterior: log prior of the sources plus log likelihood. Exact draws, which
the selector weighs equally, are thus ranked by their log joint probability. Candidate k of the
whole piece is the k-th of every segment, cross-faded like the stems; nothing has refined it.
"""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lqsep.core.audio.resampling import resample
from lqsep.core.errors import AudioError
from lqsep.core.separation.output.parts import AudioFiles, TrackPart
from lqsep.core.separation.output.pending import PendingFile
from lqsep.core.separation.output.settings import CANDIDATE_TABLE, OutputSettings
from lqsep.core.separation.pipeline import Pipeline, SegmentResult
from lqsep.core.separation.run import SeparationRun, StemBlock
from lqsep.core.separation.segments import CrossFader


class CandidateStems(AudioFiles):
    """``candidates/<k>/<stem>``: what candidate k decodes to, times the gains."""

    def __init__(
        self, pipeline: Pipeline, run: SeparationRun, output: OutputSettings, track: str
    ) -> None:
        self._pipeline = pipeline
        self._reader = run.reader
        self._fader = CrossFader(run.plan)
        self._n_saved = output.n_candidates
        self._names = {
            (k, name): output.candidate_name(k, name)
            for k in range(1, self._n_saved + 1)
            for name in output.stems
        }
        paths = output.candidate_paths(track)
        self._n_fewer = 0
        super().__init__(paths, run.reader, output)

    def push(self, block: StemBlock) -> None:
        order = ranking(block.result)[: self._n_saved]
        if len(order) < self._n_saved:
            self._n_fewer += 1
            order = order[[min(k, len(order) - 1) for k in range(self._n_saved)]]
        waves = block.result.decoded.chosen(order)
        stems = self._fader.push(block.segment, self._placed(waves, block)).cpu()
        for (k, name), file in self._names.items():
            source = self._pipeline.sources.index(name)
            first = (k - 1) * len(self._pipeline.sources)
            self.writers[file].write(stems[first + source])

    def warnings(self) -> list[str]:
        notes = []
        if self._n_fewer:
            notes.append(
                f"{self._n_fewer} segments have fewer than {self._n_saved} candidates, whose last "
                "one stands for those that are missing; see --candidates"
            )
        n_clipped = sum(writer.n_clipped for writer in self.writers.values())
        if n_clipped:
            notes.append(f"{n_clipped} values of the candidates' stems were clipped")
        return notes

    def _placed(self, waves: Tensor, block: StemBlock) -> Tensor:
        """At the mixture's rate, channels and level; candidate by candidate, all sources of each.

        Shape: ``candidates * sources, channels, samples``.
        """
        gains = waves.new_tensor(self._pipeline.gains)[:, None, None, None]
        placed = resample(
            (waves * gains).mean(2, keepdim=True),
            self._pipeline.codec.info.sample_rate,
            self._reader.sample_rate,
            n_samples=block.segment.stop - block.segment.start,
        )
        return placed.transpose(0, 1).flatten(0, 1).expand(-1, self._reader.channels, -1)


class CandidateTable(TrackPart):
    """``candidates.npz``, written segment after segment, so that it never lies in memory whole.

    Raises:
        AudioError: It cannot be written.
    """

    def __init__(
        self, pipeline: Pipeline, run: SeparationRun, output: OutputSettings, track: str
    ) -> None:
        self._file = PendingFile(output.further_paths(track)[CANDIDATE_TABLE])
        try:
            self._archive = zipfile.ZipFile(self._file.part, "w", zipfile.ZIP_DEFLATED)
        except OSError as error:
            raise self._refused(error) from error
        rate = run.reader.sample_rate
        segments = run.plan.segments
        try:
            self._add("sources", np.array(pipeline.sources))
            self._add("gains", np.array(pipeline.gains))
            self._add("segment_start_s", np.array([segment.start / rate for segment in segments]))
            self._add("segment_stop_s", np.array([segment.stop / rate for segment in segments]))
        except BaseException:
            self.discard()
            raise

    def push(self, block: StemBlock) -> None:
        result, number = block.result, block.segment.index
        candidates = result.candidates
        arrays = {
            "codes": candidates.codes.int(),
            "log_prior": candidates.log_prior,
            "log_likelihood": candidates.log_likelihood,
            "log_evidence": candidates.log_evidence,
            "weights": result.selection.weights,
            "ranking": ranking(result),
        }
        pairs = result.selection.joint
        if pairs is not None:
            arrays["pair_log_posterior"] = pairs.log_posterior
            arrays["pair_log_prior"] = pairs.log_prior
            arrays["pair_error"] = pairs.error
        for name, values in arrays.items():
            self._add(f"{name}_{number}", values.cpu().numpy())

    def finish(self) -> None:
        try:
            self._archive.close()
        except OSError as error:
            raise self._refused(error) from error

    def commit(self) -> None:
        self._file.commit()

    def discard(self) -> None:
        # Closing writes the archive's table, which a full disk would refuse.
        if self._archive.fp is not None:
            self._archive.fp.close()
            self._archive.fp = None
        self._file.discard()

    def _refused(self, error: OSError) -> AudioError:
        return AudioError(f"cannot write {self._file.path}: {error.strerror or error}")

    def _add(self, name: str, array: np.ndarray[Any, Any]) -> None:
        try:
            with self._archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        except OSError as error:
            raise self._refused(error) from error


def ranking(result: SegmentResult) -> Tensor:
    """The segment's candidates, best first."""
    weight = result.selection.weights.double().mean(0).cpu()
    candidates = result.candidates
    score = candidates.whole_log_posterior
    # Of whole sequences, so that the k-th of every segment is the same one.
    log_posterior = (candidates.log_posterior if score is None else score).double().cpu()
    by_posterior = torch.argsort(log_posterior, descending=True, stable=True)
    order = torch.argsort(weight[by_posterior], descending=True, stable=True)
    return by_posterior[order]
