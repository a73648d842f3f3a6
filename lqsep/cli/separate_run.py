"""Separate tracks one after the other, each written block by block.

Nothing of a track is held in memory but the segment being worked on. Files appear under their
names when the whole track is done.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lqsep.cli.outputs import RESIDUAL, OutputSettings, remove_empty
from lqsep.core.errors import AudioError, LqsepError

if TYPE_CHECKING:
    from lqsep.core.audio import AudioWriter
    from lqsep.core.pipeline import Separator
    from lqsep.core.readers import FileReader, MixtureReader

logger = logging.getLogger(__name__)

OnProgress = Callable[[float, float], None]


@dataclass(frozen=True)
class Track:
    """An input file and the name of its results."""

    path: Path
    name: str


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

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "warnings": list(self.warnings)}


def open_input(track: Track, settings: TrackSettings) -> tuple[FileReader, MixtureReader]:
    """The file, to be closed, and the part of it that is asked for.

    Raises:
        AudioError: The file cannot be read, or the part holds no samples.
    """
    from lqsep.core.readers import FileReader, SliceReader

    file = FileReader(track.path)
    if settings.start_s == 0 and settings.duration_s is None:
        return file, file
    try:
        return file, SliceReader(file, settings.start_s, settings.duration_s)
    except BaseException:
        file.close()
        raise


def check_input(track: Track, settings: TrackSettings) -> TrackResult | None:
    """A failed result where the input cannot be read, found before anything is computed."""
    try:
        file, _ = open_input(track, settings)
    except AudioError as error:
        _log_traceback(track, settings)
        return failed(track, str(error))
    file.close()
    return None


def failed(track: Track, error: str) -> TrackResult:
    """The result of a track that could not be separated."""
    return TrackResult(str(track.path), track.name, "failed", error=error)


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
        logger.exception("separating %s failed unexpectedly", track.path)
        return failed(track, f"{type(error).__name__}: {error}")


def _log_traceback(track: Track, settings: TrackSettings) -> None:
    if settings.debug:
        logger.error("%s failed, as the traceback above tells", track.path, exc_info=True)


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
    logger.info("separating %s", track.path)
    started = time.perf_counter()
    output = settings.output
    paths = output.paths(track.name)
    file, reader = open_input(track, settings)
    with file:
        run = separator.stream(reader, seed=settings.seed, on_progress=on_progress)
        writers: dict[str, AudioWriter] = {}
        try:
            for name, path in paths.items():
                writers[name] = _open_writer(path, reader, output)
            for block in run:
                stems = dict(zip(separator.sources, block.stems, strict=True))
                stems[RESIDUAL] = block.mixture - block.stems.sum(0)
                for name, writer in writers.items():
                    writer.write(stems[name])
            # From here on an older report would describe other files.
            output.report_path(track.name).unlink(missing_ok=True)
            peak = max(writer.peak for writer in writers.values())
            for writer in writers.values():
                writer.commit(peak)
        except BaseException:
            for writer in writers.values():
                writer.discard()
            remove_empty([path.parent for path in paths.values()], output.root)
            raise
    report = run.report()
    warnings = (*report.warnings, *_clipping(writers, output))
    report_path = output.report_path(track.name)
    replace(report, warnings=warnings).write(
        report_path, extra=_report_extra(track, settings, writers, report_path)
    )
    return TrackResult(
        input=str(track.path),
        track=track.name,
        status="done",
        files={name: str(path) for name, path in paths.items()},
        report=str(report_path),
        warnings=tuple(f"{track.name}: {warning}" for warning in warnings),
        duration_s=report.input.duration_s,
        elapsed_s=time.perf_counter() - started,
    )


def _open_writer(path: Path, reader: MixtureReader, output: OutputSettings) -> AudioWriter:
    from lqsep.core.audio import AudioWriter

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(f"cannot write {path}: {error.strerror or error}") from error
    return AudioWriter(
        path,
        reader.sample_rate,
        reader.channels,
        format=output.format,
        subtype=output.subtype,
        clip_mode=output.clip_mode,
    )


def _clipping(writers: Mapping[str, AudioWriter], output: OutputSettings) -> list[str]:
    """What happened to values beyond full scale, in words."""
    notes = [
        f"{name} has {writer.n_clipped} values beyond full scale (peak {writer.peak:.3f}), which "
        "were clipped; use --clip-mode rescale or --float32 to keep them"
        for name, writer in writers.items()
        if writer.n_clipped
    ]
    scale = min(writer.scale for writer in writers.values())
    if scale < 1:
        notes.append(f"all files were multiplied by {scale:.4f}, as --clip-mode rescale asks")
    return notes


def _report_extra(
    track: Track,
    settings: TrackSettings,
    writers: Mapping[str, AudioWriter],
    report_path: Path,
) -> dict[str, Any]:
    """What only the command line knows, for ``lqsep.json``."""
    output = settings.output
    return {
        "path": str(track.path),
        "start_s": settings.start_s,
        "files": {
            name: os.path.relpath(writer.path, report_path.parent)
            for name, writer in writers.items()
        },
        "clipped": {name: writer.n_clipped for name, writer in writers.items()},
        "output": {
            "format": output.format,
            "subtype": output.subtype,
            "clip_mode": output.clip_mode,
            "scale": min(writer.scale for writer in writers.values()),
        },
    }
