"""A whole track: separated and written block by block, so that it never lies in memory whole.

Files appear under their names when the whole track is done, and all of them or none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lqsep.core.audio.mixtures import FileReader, MixtureReader
from lqsep.core.errors import AudioError
from lqsep.core.separation.output.candidates import CandidateStems, CandidateTable
from lqsep.core.separation.output.identity import TrackIdentity
from lqsep.core.separation.output.parts import StemFiles, TrackPart
from lqsep.core.separation.output.pending import MadeFolders, PendingFile
from lqsep.core.separation.output.self_check import self_check
from lqsep.core.separation.output.settings import OutputSettings
from lqsep.core.separation.pipeline import Pipeline
from lqsep.core.separation.report import SeparationReport
from lqsep.core.separation.run import OnProgress, SeparationRun

MakePart = Callable[[Pipeline, SeparationRun, OutputSettings, str], TrackPart]
"""Makes a further part of a track: called with pipeline, run, output settings and the track."""


@dataclass(frozen=True)
class WrittenTrack:
    """What was written.

    Args:
        files: By the name of the stem or, of other files, the file.
        report_path: Of ``lqsep.json``.
        report: Its content, but for what stands beside it there.
        self_check: How the result looks, in words.
        parts: The further parts that were asked for.
    """

    files: Mapping[str, Path]
    report_path: Path
    report: SeparationReport
    self_check: str
    parts: Sequence[TrackPart]


def write_track(
    pipeline: Pipeline,
    mixture: str | Path | MixtureReader,
    output: OutputSettings,
    *,
    track: str | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    further: Sequence[MakePart] = (),
    identity: TrackIdentity | None = None,
    extra: Callable[[], Mapping[str, Any]] | None = None,
    overwrite: bool = False,
) -> WrittenTrack:
    """Separate a mixture and write its stems, its report and what else is asked for.

    Args:
        pipeline: What separates.
        mixture: A file, or an open reader, which stays open.
        output: Where to and as what; candidates included, pictures not (see
            `lqsep.core.plotting.separation`).
        track: Name of the folder; None takes the mixture's.
        seed: The same seed gives the same stems.
        on_progress: Called with the seconds of audio done and in all.
        further: More parts to be made of the track.
        identity: What the results are made from, where more than the mixture's file decides.
        extra: Gives further entries of the report, when all parts are complete.
        overwrite: Whether results of another input may be replaced.

    Raises:
        AudioError: It cannot be read or written, or results of another input are in the way;
            nothing is left behind, and what was there before stays.
        LqsepError: It cannot be separated.
    """
    reader: AbstractContextManager[MixtureReader]
    if isinstance(mixture, str | Path):
        reader = FileReader(mixture)
        if identity is None:
            identity = TrackIdentity([mixture])
    else:
        reader = nullcontext(mixture)
    with reader as opened:
        writing = _Writing(pipeline, opened, output, track or opened.name, seed, on_progress)
        if identity is not None and not overwrite:
            refuse_others(identity, output, writing.track)
        before = identity.entries() if identity is not None else {}
        return writing.write(further, lambda: {**before, **(extra() if extra is not None else {})})


def refuse_others(identity: TrackIdentity, output: OutputSettings, track: str) -> None:
    """Refuse to replace the results of another input.

    Raises:
        AudioError: There are some.
    """
    other = identity.in_the_way(output, track)
    if other is not None:
        raise AudioError(
            f"{identity.label}: its results would replace {other}; choose another folder with "
            "--out, or give --overwrite"
        )


class _Writing:
    """One track on its way onto the disk."""

    def __init__(
        self,
        pipeline: Pipeline,
        reader: MixtureReader,
        output: OutputSettings,
        track: str,
        seed: int,
        on_progress: OnProgress | None,
    ) -> None:
        self._pipeline, self._output, self.track = pipeline, output, track
        self._run = SeparationRun(pipeline, reader, seed, on_progress)
        self._parts: list[TrackPart] = []

    def write(
        self, further: Sequence[MakePart], extra: Callable[[], Mapping[str, Any]]
    ) -> WrittenTrack:
        output, files = self._output, self._output.all_paths(self.track)
        report_path = output.report_path(self.track)
        with ExitStack() as undo:
            folders = MadeFolders()
            undo.callback(folders.remove_empty)
            for path in (report_path, *files.values()):
                folders.make(path.parent)
            report_file = PendingFile(report_path)
            undo.callback(report_file.discard)
            undo.callback(self._discard_parts)
            stems = self._begin(further)
            for block in self._run:
                for part in self._parts:
                    part.push(block)
            for part in self._parts:
                part.finish()
            peak = max(part.peak for part in self._parts)
            for part in self._parts:
                part.seal(peak)
            report = self._report()
            check = self_check(report, stems.energy_shares())
            entries = {**extra(), **self._entries(stems, files), "self_check": check}
            report.write(report_file.part, extra=entries)
            # From here on an older report would describe other files.
            report_path.unlink(missing_ok=True)
            for part in self._parts:
                part.commit()
            report_file.commit()
            undo.pop_all()
        return WrittenTrack(files, report_path, report, check, self._parts)

    def _discard_parts(self) -> None:
        for part in self._parts:
            part.discard()

    def _begin(self, further: Sequence[MakePart]) -> StemFiles:
        """One part after the other, so that a failure leaves none behind."""
        pipeline, run, output, track = self._pipeline, self._run, self._output, self.track
        stems = StemFiles(output.paths(track), run.reader, output, pipeline.sources)
        self._parts.append(stems)
        if output.n_candidates:
            self._parts.append(CandidateStems(pipeline, run, output, track))
            self._parts.append(CandidateTable(pipeline, run, output, track))
        for make in further:
            self._parts.append(make(pipeline, run, output, track))
        return stems

    def _report(self) -> SeparationReport:
        report = self._run.report()
        notes = (note for part in self._parts for note in part.warnings())
        return replace(report, warnings=(*report.warnings, *notes))

    def _entries(self, stems: StemFiles, files: Mapping[str, Path]) -> dict[str, Any]:
        """What is known of the files, for the report."""
        output, folder = self._output, self._output.report_path(self.track).parent
        return {
            "files": {name: os.path.relpath(path, folder) for name, path in files.items()},
            "clipped": {name: writer.n_clipped for name, writer in stems.writers.items()},
            "energy_shares": stems.energy_shares(),
            "output": {
                "format": output.format,
                "subtype": output.subtype,
                "clip_mode": output.clip_mode,
                "scale": stems.scale,
            },
        }
