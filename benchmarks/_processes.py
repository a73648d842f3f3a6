"""Seconds and memory of whole commands, each a process of its own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _timing import turns

FIGURES = ("seconds", "processor_seconds", "peak_memory_bytes")


# A small process in between: the system counts the peak of the one that starts a command for its.
_MEASURING = """
import json, os, sys, time
started = time.perf_counter()
words = sys.argv[1:]
both = [(os.POSIX_SPAWN_DUP2, 2, 1)]
process = os.posix_spawnp(words[0], words, os.environ, file_actions=both)
_, status, used = os.wait4(process, 0)
seconds = time.perf_counter() - started
processor_s = used.ru_utime + used.ru_stime
code = os.waitstatus_to_exitcode(status)
print(json.dumps([code, seconds, processor_s, 1024 * used.ru_maxrss]))
"""


class CommandError(Exception):
    """A command that did not end well; the message is one line."""


class Command(NamedTuple):
    """Words, and what is added to the environment or put in place of what is there."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = {}


def measured(command: Command, threads: int, folder: Path | None = None) -> dict[str, float]:
    """Seconds by the clock, seconds of the processor (user and system), peak of memory in bytes.

    Args:
        command: Run once. What it prints is shown in the message alone, if it fails.
        threads: Its ``OMP_NUM_THREADS``.
        folder: Where it runs; by default where this process does.

    Raises:
        CommandError: It cannot be started or fails.
    """
    environment = {**os.environ, **command.environment, "OMP_NUM_THREADS": str(threads)}
    measuring = [sys.executable, "-I", "-S", "-c", _MEASURING, *command.words]
    done = subprocess.run(measuring, cwd=folder, env=environment, capture_output=True)
    said = done.stderr.decode(errors="replace")
    if done.returncode:
        raise CommandError(last_line(said))
    status, *values = json.loads(done.stdout)
    if status:
        raise CommandError(f"exit code {status}: {last_line(said)}")
    return dict(zip(FIGURES, values, strict=True))


def last_line(text: str) -> str:
    """The last line with anything in it, where programs say why they failed."""
    lines = text.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "without a word")


def run_in_turn(
    ways: Sequence[str], rounds: int, run: Callable[[str, int], dict[str, float]]
) -> dict[str, list[dict[str, float]]]:
    """Every way once per round, in turn; ``run`` is given the way and the round."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for number, way in turns(ways, rounds):
        found[way].append(run(way, number))
    return found


def medians(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, Any]]:
    """By way: ``n``, the median of every figure, and all ``runs`` in the order they were made."""
    return {
        way: {
            "n": len(found),
            **{name: statistics.median(one[name] for one in found) for name in FIGURES},
            "runs": list(found),
        }
        for way, found in runs.items()
    }


def times_of(ways: Mapping[str, Mapping[str, Any]], base: str) -> dict[str, dict[str, float]]:
    """By way and figure: how many times that of ``base`` its median is."""
    return {
        way: {name: found[name] / ways[base][name] for name in FIGURES}
        for way, found in ways.items()
    }
