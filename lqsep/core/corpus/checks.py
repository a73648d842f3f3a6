"""Examine the audio files of a data set: what is there, and what would harm training.

Which files make up which track is not decided here: a `DataListing` says so.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lqsep.core.audio.files import AudioReader
from lqsep.core.errors import AudioError
from lqsep.core.jobs.threads import in_threads

SCHEMA_VERSION = 1

# A file whose RMS is below this (-80 dB of full scale) is silent, as training has it too.
SILENT_RMS = 1e-4

# The largest positive value of 16 bits.
FULL_SCALE = 32767 / 32768

# So many samples of a channel in a row at full scale are clipped: at 44,100 Hz and 16 bits, a sine
# of 40 Hz that just touches full scale stays there for four.
CLIPPED_RUN = 5

# So many files or tracks are named in one line.
_SHOWN = 3


@dataclass(frozen=True)
class DataFile:
    """An audio file and what it is; ``split`` is empty in a data set without splits."""

    split: str
    track: str
    source: str
    path: Path


@dataclass(frozen=True)
class DataProblem:
    """One thing to look at, in one sentence.

    Args:
        level: An ``error`` hinders or falsifies training and evaluation, a ``warning`` may be
            meant.
        kind: Such as ``unreadable``, ``incomplete``, ``leak``.
        where: The file or track.
    """

    level: Literal["error", "warning"]
    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.text}"


@dataclass(frozen=True)
class DataListing:
    """The files of a data set, and what their names alone tell.

    Args:
        layout: Name of the dataset that reads it, such as ``track-folders``.
        sources: Those that every track should have.
    """

    root: Path
    layout: str
    sources: tuple[str, ...]
    files: tuple[DataFile, ...]
    problems: tuple[DataProblem, ...]


@dataclass(frozen=True)
class FileFacts:
    """What one decoding of a file tells.

    Args:
        n_clipped: Peaks of at least ``CLIPPED_RUN`` samples at full scale, over all channels.
        digest: Of the decoded samples; the same whatever the file format.
        warnings: Where its header and its content disagree.
    """

    sample_rate: int
    channels: int
    n_samples: int
    peak: float
    rms: float
    n_clipped: int
    digest: bytes
    warnings: tuple[str, ...] = ()

    @property
    def is_silent(self) -> bool:
        return self.rms < SILENT_RMS


@dataclass(frozen=True)
class DataGroup:
    """The files of one source in one split."""

    split: str
    source: str
    n_files: int
    hours: float
    sample_rates: tuple[int, ...]
    channels: tuple[int, ...]
    n_silent: int
    n_clipped: int
    n_unreadable: int


@dataclass(frozen=True)
class DataReport:
    """What a check found; ``problems`` with errors first."""

    listing: DataListing
    groups: tuple[DataGroup, ...]
    problems: tuple[DataProblem, ...]

    @property
    def n_errors(self) -> int:
        return sum(problem.level == "error" for problem in self.problems)

    @property
    def n_tracks(self) -> int:
        return len({(file.split, file.track) for file in self.listing.files})

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "root": str(self.listing.root),
            "layout": self.listing.layout,
            "sources": list(self.listing.sources),
            "n_tracks": self.n_tracks,
            "n_errors": self.n_errors,
            "n_warnings": len(self.problems) - self.n_errors,
            "groups": [asdict(group) for group in self.groups],
            "problems": [asdict(problem) for problem in self.problems],
        }


def check_data(
    listing: DataListing, *, jobs: int = 1, on_file: Callable[[int, int], None] | None = None
) -> DataReport:
    """Decode every file once, in blocks, and compare.

    Args:
        listing: Files and what is known to be wrong already.
        jobs: Files read at a time, in threads.
        on_file: Called with (files done, files in all).
    """
    found: dict[DataFile, FileFacts] = {}
    problems = list(listing.problems)
    for done, (file, facts) in enumerate(_examine_all(listing.files, jobs), 1):
        if isinstance(facts, FileFacts):
            found[file] = facts
        else:
            where = _relative(listing, file)
            problems.append(DataProblem("error", "unreadable", where, _without_path(facts, file)))
        if on_file is not None:
            on_file(done, len(listing.files))
    problems += _levels(listing, found)
    problems += _differences(found)
    problems += _copies(listing, found)
    problems.sort(key=lambda problem: problem.level != "error")  # stable: errors first
    return DataReport(listing, _groups(listing.files, found), tuple(problems))


def examine_file(path: Path) -> FileFacts:
    """Decode a file once, block by block.

    Raises:
        AudioError: As `AudioReader`: not audio, cut short, damaged, values that are not finite.
    """
    digest = hashlib.blake2b(digest_size=16)
    peak = squares = 0.0
    with AudioReader(path) as reader:
        info = reader.info
        clipped = _ClippedRuns(info.channels)
        for block in reader.blocks():
            peak = max(peak, float(np.abs(block).max()))
            squares += float(np.square(block, dtype=np.float64).sum())
            clipped.add(block)
            digest.update(np.ascontiguousarray(block.T).data)
    return FileFacts(
        sample_rate=info.sample_rate,
        channels=info.channels,
        n_samples=info.n_samples,
        peak=peak,
        rms=(squares / (info.n_samples * info.channels)) ** 0.5,
        n_clipped=clipped.finish(),
        digest=digest.digest(),
        warnings=info.warnings,
    )


class _ClippedRuns:
    """Counts runs at full scale of a wave that arrives in blocks."""

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._open = np.zeros(channels, np.int64)  # lengths of the runs that may go on

    def add(self, block: npt.NDArray[np.float32]) -> None:
        full = np.abs(block) >= FULL_SCALE
        for channel, row in enumerate(full):
            edges = np.flatnonzero(np.diff(row, prepend=False, append=False))
            runs = edges[1::2] - edges[::2]
            if row[0]:
                runs[0] += self._open[channel]
            else:
                self._count += int(self._open[channel] >= CLIPPED_RUN)
            self._open[channel] = runs[-1] if row[-1] else 0
            closed = runs[:-1] if row[-1] else runs
            self._count += int((closed >= CLIPPED_RUN).sum())

    def finish(self) -> int:
        return self._count + int((self._open >= CLIPPED_RUN).sum())


def _examine_all(
    files: Sequence[DataFile], jobs: int
) -> Iterator[tuple[DataFile, FileFacts | Exception]]:
    def examine(file: DataFile) -> FileFacts | Exception:
        try:
            return examine_file(file.path)
        except (AudioError, OSError) as error:
            return error

    return zip(files, in_threads(examine, files, jobs), strict=True)


def _groups(
    files: Iterable[DataFile], found: Mapping[DataFile, FileFacts]
) -> tuple[DataGroup, ...]:
    members: dict[tuple[str, str], list[FileFacts | None]] = defaultdict(list)
    for file in files:
        members[file.split, file.source].append(found.get(file))
    groups = []
    for (split, source), all_facts in members.items():
        facts = [one for one in all_facts if one is not None]
        groups.append(
            DataGroup(
                split=split,
                source=source,
                n_files=len(all_facts),
                hours=sum(one.n_samples / one.sample_rate for one in facts) / 3600,
                sample_rates=tuple(sorted({one.sample_rate for one in facts})),
                channels=tuple(sorted({one.channels for one in facts})),
                n_silent=sum(one.is_silent for one in facts),
                n_clipped=sum(one.n_clipped > 0 for one in facts),
                n_unreadable=len(all_facts) - len(facts),
            )
        )
    return tuple(groups)


def _levels(listing: DataListing, found: Mapping[DataFile, FileFacts]) -> Iterator[DataProblem]:
    for file, facts in found.items():
        where = _relative(listing, file)
        for text in facts.warnings:
            yield DataProblem("warning", "header", where, text)
        if facts.is_silent:
            text = f"silent (RMS {facts.rms:.1e}, peak {facts.peak:.1e})"
            yield DataProblem("warning", "silent", where, text)
        if facts.n_clipped:
            text = (
                f"clipped (peak {facts.peak:.3f}): {CLIPPED_RUN} or more samples in a row at full "
                f"scale, {facts.n_clipped} times"
            )
            yield DataProblem("warning", "clipped", where, text)


def _differences(found: Mapping[DataFile, FileFacts]) -> Iterator[DataProblem]:
    """Files of one track that differ in form, or in length."""
    tracks: dict[tuple[str, str], list[tuple[DataFile, FileFacts]]] = defaultdict(list)
    for file, facts in found.items():
        tracks[file.split, file.track].append((file, facts))
    for (split, track), files in tracks.items():
        where = f"{split}/{track}" if split else track
        forms = {
            f"{facts.sample_rate} Hz, {facts.channels} channels": file for file, facts in files
        }
        if len(forms) > 1:
            shown = "; ".join(f"{file.source} has {form}" for form, file in forms.items())
            yield DataProblem("error", "form", where, f"its files differ: {shown}")
            continue
        lengths = {facts.n_samples / facts.sample_rate: file for file, facts in files}
        if len(lengths) > 1:
            shortest, longest = min(lengths), max(lengths)
            text = (
                f"its files differ in length: {lengths[shortest].source} has {shortest:.3f} s, "
                f"{lengths[longest].source} {longest:.3f} s; the rest is taken as silence"
            )
            yield DataProblem("warning", "length", where, text)


def _copies(listing: DataListing, found: Mapping[DataFile, FileFacts]) -> Iterator[DataProblem]:
    """Files with the same samples; between splits they falsify what is measured."""
    same: dict[bytes, list[DataFile]] = defaultdict(list)
    for file, facts in found.items():
        if not facts.is_silent:  # silent files are alike without being copies
            same[facts.digest].append(file)
    for files in same.values():
        if len(files) < 2:
            continue
        is_leak = len({file.split for file in files}) > 1
        others = [_relative(listing, file) for file in files[1:]]
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        text = f"the same audio as {', '.join(others[:_SHOWN])}{more}"
        yield DataProblem(
            "error" if is_leak else "warning",
            "leak" if is_leak else "copy",
            _relative(listing, files[0]),
            text + (", in another split" if is_leak else ""),
        )


def _relative(listing: DataListing, file: DataFile) -> str:
    return file.path.relative_to(listing.root).as_posix()


def _without_path(error: Exception, file: DataFile) -> str:
    text = str(error).replace(f"cannot read {file.path}: ", "").replace(f" of {file.path}", "")
    return text.rstrip(".")
