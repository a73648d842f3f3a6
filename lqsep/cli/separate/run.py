"""Separate tracks one after the other, each written block by block.

Nothing of a track is held in memory but the segment being worked on. Files appear under their
names when the whole track is done.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lqsep.cli.separate.outputs import OutputSettings, remove_empty
from lqsep.cli.separate.plots import SeparationPlots
from lqsep.cli.separate.references import OpenReferences, Reference, ReferenceScores, opened
from lqsep.cli.separate.saved_candidates import CandidateStems, CandidateTable
from lqsep.cli.separate.track_parts import StemFiles, TrackPart
from lqsep.core.errors import AudioError, LqsepError

if TYPE_CHECKING:
    from lqsep.core.separation.run import SeparationRun
    from lqsep.core.separation.separator import Separator

logger = logging.getLogger(__name__)

OnProgress = Callable[[float, float], None]


@dataclass(frozen=True)
class Track:
    """An input and the name of its results.

    Args:
        path: The mixture; None where it is formed from the references.
        name: Of the folder with the results.
        references: Recordings of its sources.
        given: What a user called the mixture, where it came through a pipe.
    """

    path: Path | None
    name: str
    references: tuple[Reference, ...] = ()
    given: str | None = None

    @property
    def label(self) -> str:
        """The input in words."""
        if self.path is not None:
            return self.given or str(self.path)
        return " + ".join(f"{part.gain:g} * {part.path}" for part in self.references)


@dataclass(frozen=True)
class TrackSettings:
    """What is done with every track.

    Args:
        output: Where and how stems are written.
        seed: Of the samplers; the same for every track.
        start_s: Where to begin, in seconds.
        duration_s: Seconds to separate; None = to the end.
        debug: Log the traceback of every failure.
    """

    output: OutputSettings
    seed: int = 0
    start_s: float = 0.0
    duration_s: float | None = None
    debug: bool = False


@dataclass(frozen=True)
class TrackResult:
    """What became of one input; plain values only."""

    input: str
    track: str | None
    status: Literal["done", "skipped", "failed"]
    files: Mapping[str, str] = field(default_factory=dict)
    report: str | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    duration_s: float | None = None
    elapsed_s: float | None = None
    scores: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "warnings": list(self.warnings), "scores": list(self.scores)}


def open_input(track: Track, settings: TrackSettings) -> AbstractContextManager[OpenReferences]:
    """The part that is asked for, of the mixture and its references; see `opened`."""
    return opened(track.path, track.name, track.references, settings.start_s, settings.duration_s)


def check_input(track: Track, settings: TrackSettings) -> TrackResult | None:
    """A failed result where the input cannot be read, found before anything is computed."""
    try:
        with open_input(track, settings):
            return None
    except AudioError as error:
        _log_traceback(track, settings)
        return failed(track, str(error))


def failed(track: Track, error: str) -> TrackResult:
    """The result of a track that could not be separated."""
    if track.given is not None:
        error = error.replace(str(track.path), track.given)
    return TrackResult(track.label, track.name, "failed", error=error)


def run_track(
    separator: Separator,
    track: Track,
    settings: TrackSettings,
    on_progress: OnProgress | None = None,
) -> TrackResult:
    """Separate one track; what is wrong with it alone becomes part of the result.

    Raises:
        LqsepError: The pipeline itself is at fault (exit code 2 or 3): no other track would do.
    """
    try:
        return separate_track(separator, track, settings, on_progress)
    except LqsepError as error:
        if error.exit_code != 1:
            raise
        _log_traceback(track, settings)
        return failed(track, str(error))
    except Exception as error:  # one input's failure must not stop the others
        logger.exception("separating %s failed unexpectedly", track.label)
        return failed(track, f"{type(error).__name__}: {error}")


def _log_traceback(track: Track, settings: TrackSettings) -> None:
    if settings.debug:
        logger.error("%s failed, as the traceback above tells", track.label, exc_info=True)


def separate_track(
    separator: Separator,
    track: Track,
    settings: TrackSettings,
    on_progress: OnProgress | None = None,
) -> TrackResult:
    """Separate one track and write its stems and report.

    Raises:
        LqsepError: It cannot be read, separated or written; nothing is left behind.
    """
    logger.info("separating %s", track.label)
    started = time.perf_counter()
    output = settings.output
    files = output.all_paths(track.name)
    report_path = output.report_path(track.name)
    with open_input(track, settings) as sources:
        run = separator.stream(sources.mixture, seed=settings.seed, on_progress=on_progress)
        parts: list[TrackPart] = []
        try:
            stems = StemFiles(
                output.paths(track.name), run.reader, output, tuple(separator.sources)
            )
            parts.append(stems)
            _add_parts(parts, separator, run, track, output, sources)
            for block in run:
                for part in parts:
                    part.push(block)
            for part in parts:
                part.finish()
            # From here on an older report would describe other files.
            report_path.unlink(missing_ok=True)
            peak = max(part.peak for part in parts)
            for part in parts:
                part.commit(peak)
        except BaseException:
            for part in parts:
                part.discard()
            remove_empty([path.parent for path in files.values()], output.root)
            raise
    report = run.report()
    warnings = (*report.warnings, *(note for part in parts for note in part.warnings()))
    extra = _report_extra(track, settings, stems)
    scores = tuple(
        score for part in parts if isinstance(part, ReferenceScores) for score in part.results()
    )
    if track.references:
        extra["scores"] = scores
    replace(report, warnings=warnings).write(report_path, extra=extra)
    return TrackResult(
        input=track.label,
        track=track.name,
        status="done",
        files={name: str(path) for name, path in files.items()},
        report=str(report_path),
        warnings=tuple(f"{track.name}: {warning}" for warning in warnings),
        duration_s=report.input.duration_s,
        elapsed_s=time.perf_counter() - started,
        scores=scores,
    )


def _add_parts(
    parts: list[TrackPart],
    separator: Separator,
    run: SeparationRun,
    track: Track,
    output: OutputSettings,
    sources: OpenReferences,
) -> None:
    """What is asked for beside the stems; one by one, so that a failure leaves none behind."""
    if sources.references:
        parts.append(ReferenceScores(separator, run, sources.references))
    if output.n_candidates:
        parts.append(CandidateStems(separator, run, output, track.name))
        parts.append(CandidateTable(separator, run, output, track.name))
    if output.plots:
        parts.append(SeparationPlots(separator, run, output, track.name, sources.references))


def _report_extra(track: Track, settings: TrackSettings, stems: StemFiles) -> dict[str, Any]:
    """What only the command line knows, for ``lqsep.json``."""
    output = settings.output
    folder = output.report_path(track.name).parent
    extra = {
        "path": None if track.path is None else track.label,
        "start_s": settings.start_s,
        "files": {
            name: os.path.relpath(path, folder)
            for name, path in output.all_paths(track.name).items()
        },
        "clipped": {name: writer.n_clipped for name, writer in stems.writers.items()},
        "output": {
            "format": output.format,
            "subtype": output.subtype,
            "clip_mode": output.clip_mode,
            "scale": stems.scale,
        },
    }
    if track.references:
        extra["references"] = references_of(track)
    return extra


def references_of(track: Track) -> dict[str, Any]:
    """Path and gain of each reference, for ``lqsep.json``."""
    return {
        reference.source: {"path": str(reference.path), "gain": reference.gain}
        for reference in track.references
    }
