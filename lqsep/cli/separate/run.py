"""Separate tracks one after the other: what becomes of each is a result, failures included."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lqsep.cli.jobs.faults import unexpected
from lqsep.cli.separate.references import OpenReferences, Reference, opened
from lqsep.core.errors import AudioError, LqsepError
from lqsep.core.separation.output.settings import OutputSettings

if TYPE_CHECKING:
    from lqsep.core.separation.output.identity import TrackIdentity
    from lqsep.core.separation.output.track import MakePart
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
        pipeline: What the pipeline was made from, as the report has it: ``model`` and ``config``.
        overwrite: Whether results of other inputs may be replaced.
        debug: Log the traceback of every failure.
    """

    output: OutputSettings
    seed: int = 0
    start_s: float = 0.0
    duration_s: float | None = None
    pipeline: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
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
    self_check: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "warnings": list(self.warnings), "scores": list(self.scores)}


def open_input(track: Track, settings: TrackSettings) -> AbstractContextManager[OpenReferences]:
    """The part that is asked for, of the mixture and its references; see `opened`."""
    return opened(track.path, track.name, track.references, settings.start_s, settings.duration_s)


def identity_of(track: Track, settings: TrackSettings) -> TrackIdentity:
    """What its results are made from."""
    from lqsep.core.separation.output.identity import TrackIdentity

    mixture = () if track.path is None else (track.path,)
    return TrackIdentity(
        (*mixture, *(reference.path for reference in track.references)),
        {
            **settings.pipeline,
            "seed": settings.seed,
            "settings": {
                "start_s": settings.start_s,
                "duration_s": settings.duration_s,
                "references": references_of(track),
                **settings.output.deciding(),
            },
        },
    )


def check_input(track: Track, settings: TrackSettings) -> TrackResult | None:
    """A failed result where the track cannot be done, found before anything is computed."""
    from lqsep.core.separation.output.track import refuse_others

    try:
        with open_input(track, settings):
            pass
        if not settings.overwrite:
            refuse_others(identity_of(track, settings), settings.output, track.name)
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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # one input's failure must not stop the others
        return failed(track, unexpected(f"separating {track.label}", error))


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
    from lqsep.core.separation.output.reference_scores import ReferenceScores
    from lqsep.core.separation.output.track import write_track

    logger.info("separating %s", track.label)
    started = time.perf_counter()
    identity = identity_of(track, settings)
    with open_input(track, settings) as sources:
        scores: list[ReferenceScores] = []

        def scored(pipeline: Any, run: Any, output: Any, name: Any) -> ReferenceScores:
            scores.append(ReferenceScores(pipeline, run, sources.references))
            return scores[-1]

        further: list[MakePart] = [scored] if sources.references else []
        if settings.output.plots:
            from lqsep.core.plotting.separation import plots_beside

            further.append(plots_beside(sources.references))
        written = write_track(
            separator,
            sources.mixture,
            settings.output,
            track=track.name,
            seed=settings.seed,
            on_progress=on_progress,
            further=further,
            identity=identity,
            extra=lambda: _entries(track, settings, identity, scores),
            overwrite=settings.overwrite,
        )
    report = written.report
    return TrackResult(
        input=track.label,
        track=track.name,
        status="done",
        files={name: str(path) for name, path in written.files.items()},
        report=str(written.report_path),
        warnings=tuple(f"{track.name}: {warning}" for warning in report.warnings),
        duration_s=report.input.duration_s,
        elapsed_s=time.perf_counter() - started,
        scores=tuple(score for part in scores for score in part.results()),
        self_check=written.self_check,
    )


def _entries(
    track: Track, settings: TrackSettings, identity: TrackIdentity, scores: Sequence[Any]
) -> dict[str, Any]:
    """What only the command line knows, for ``lqsep.json``."""
    extra = {
        "path": None if track.path is None else track.label,
        "start_s": settings.start_s,
        "settings": identity.settings["settings"],
    }
    if track.references:
        extra["references"] = references_of(track)
        extra["scores"] = tuple(score for part in scores for score in part.results())
    return extra


def references_of(track: Track) -> dict[str, Any]:
    """Path and gain of each reference, for ``lqsep.json``."""
    return {
        reference.source: {"path": str(reference.path), "gain": reference.gain}
        for reference in track.references
    }
