"""What is true after every command, whatever it was given; each function yields complaints."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import soundfile

from lqsep.core.files.staging import PREFIX
from tests.soak.children import Outcome

# Of the command line's documentation.
CODES = (0, 1, 2, 3)
CODES_BY_SIGNAL = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}

_LONGEST_LINE = 1200
_MOST_BYTES = 3 << 30

Snapshot = dict[str, str]


def ended_well(
    outcome: Outcome,
    *,
    codes: Collection[int] = CODES,
    names: str = "",
    most_lines: int = 12,
    tells: bool = True,
) -> Iterator[str]:
    """A known exit code, short plain lines, bounded memory, no process left.

    Args:
        outcome: Of a command.
        codes: That it may have.
        names: What an error must name.
        most_lines: On stderr.
        tells: Whether a failure is an error on stderr; else it is in the result on stdout.
    """
    if outcome.timed_out or outcome.signal is not None or outcome.code not in codes:
        yield f"{outcome.end}, expected an exit code among {sorted(codes)}"
    if outcome.strays:
        yield f"{outcome.strays} processes live on"
    if outcome.peak_bytes > _MOST_BYTES:
        yield f"used {outcome.peak_bytes / 2**30:.1f} GB of memory"
    lines = outcome.err.splitlines()
    for word in ("Traceback (most recent", "failed unexpectedly", "Exception ignored"):
        if word in outcome.err:
            yield f"stderr has {word!r}"
    if len(lines) > most_lines:
        yield f"{len(lines)} lines on stderr, expected {most_lines} at most"
    if longest := max((len(line) for line in lines), default=0) > _LONGEST_LINE:
        yield f"a line of {longest} characters on stderr"
    if any(ord(letter) < 32 and letter not in "\n\t\r" for letter in outcome.err):
        yield "control characters on stderr"
    if tells and outcome.code not in (0, None):
        errors = [line for line in lines if line.startswith("lqsep: error: ")]
        if not errors and outcome.code in CODES:
            yield "no line 'lqsep: error: ...'"
        if names and outcome.code in CODES and not any(names in line for line in errors):
            yield f"no error names {names}"


def snapshot(folder: Path, *, without: Collection[Path] = ()) -> Snapshot:
    """Every path below a folder with what is in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if any(path == other or other in path.parents for other in without):
            continue
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder"
    return found


def unchanged(before: Snapshot, after: Snapshot, what: str) -> Iterator[str]:
    """Nothing was added, removed or changed."""
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"{what}: {name} is gone"
        elif name not in before:
            yield f"{what}: {name} is new"
        elif before[name] != after[name]:
            yield f"{what}: {name} has changed"


def no_leftovers(*folders: Path) -> Iterator[str]:
    """No hidden folder of unfinished files, and nothing among the temporary files."""
    for folder in folders:
        for path in folder.rglob(f"{PREFIX}*"):
            yield f"left behind: {path.relative_to(folder)}"


def empty(folder: Path) -> Iterator[str]:
    """No file among the temporary ones."""
    for path in folder.rglob("*"):
        if not path.is_dir() or PREFIX in path.name:
            yield f"left among temporary files: {path.relative_to(folder)}"


def results_whole(results: Path) -> Iterator[str]:
    """Every track's folder has a report and all files that it promises; nothing else is there."""
    if not results.exists():
        return
    reports = sorted(results.rglob("lqsep.json"))
    expected = set(reports)
    for path in reports:
        try:
            report = json.loads(path.read_text())
        except ValueError as error:
            yield f"{path.name}: {error}"
            continue
        for name in report["files"].values():
            stem = path.parent / name
            expected.add(stem)
            try:
                wave, rate = soundfile.read(stem, always_2d=True)
            except Exception as error:
                yield f"{stem.relative_to(results)} cannot be read: {error}"
                continue
            form = report["input"]
            if (len(wave), wave.shape[1], rate) != (
                form["n_samples"],
                form["channels"],
                form["sample_rate"],
            ):
                yield f"{stem.relative_to(results)} has shape {wave.shape} at {rate} Hz, not {form}"
            if not np.isfinite(wave).all():
                yield f"{stem.relative_to(results)} holds values that are not finite"
    for path in results.rglob("*"):
        if path.is_file() and path not in expected:
            yield f"{path.relative_to(results)} belongs to no report"
        if path.is_dir() and not any(path.rglob("lqsep.json")):
            yield f"{path.relative_to(results)} is a folder without a report"


def tracks_told(outcome: Outcome, results: Path) -> Iterator[str]:
    """What ``separate --json`` says is what is there, and what the exit code says."""
    try:
        document = json.loads(outcome.out)
    except ValueError:
        # Memory may be short before any track is begun.
        before = ("all inputs", "lqsep: error: out of memory")
        if outcome.code in (0, 1) and not any(words in outcome.err for words in before):
            yield f"stdout is no JSON document: {outcome.out[:80]!r}"
        return
    failed = [track for track in document["tracks"] if track["status"] == "failed"]
    if bool(failed) != (outcome.code == 1):
        yield f"exit code {outcome.code} with {len(failed)} failed tracks"
    for track in document["tracks"]:
        if track["status"] == "failed":
            if (results / track["track"] / "lqsep.json").exists():
                yield f"{track['track']} failed, and its report is there"
            if "\n" in track["error"]:
                yield f"{track['track']}: an error of several lines"
        elif not (results / track["track"] / "lqsep.json").exists():
            yield f"{track['track']} is {track['status']}, and it has no report"


def about(outcome: Outcome, complaints: Iterator[str]) -> Iterator[str]:
    """The complaints, each with the command and the end of what it said."""
    said = outcome.err.strip()[-1500:]
    for complaint in complaints:
        yield f"{complaint}\n$ {outcome.command}  ({outcome.end}, {outcome.seconds:.1f} s)\n{said}"
