"""What the benchmarks share: timing several ways of one job in turn, and writing the result.

Alternatives are run one after the other in every round, in an order that rotates, so that a
machine that slows down or is shared slows all of them down alike. Ratios between them are worth
more than the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lqsep.core.files.new_file import write_text

Job = Callable[[], object]


def time_in_turn(
    jobs: Mapping[str, Job], rounds: int, *, warm_up: bool = True, device: str = "cpu"
) -> dict[str, dict[str, Any]]:
    """Run every job once per round.

    Args:
        jobs: The alternatives by name.
        rounds: How often each is timed.
        warm_up: Run each once before, untimed.
        device: Waited for before a clock is read.

    Returns:
        By name: ``n`` and, in seconds of wall-clock time, ``median``, ``min``, ``max`` and
        ``spread`` (the distance between the quartiles); ``cpu_median``, seconds of processor time;
        and all ``seconds`` in the order they were taken.
    """
    names = list(jobs)
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    if warm_up:
        for job in jobs.values():
            job()
    for _, name in turns(names, rounds):
        wait(device)
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        jobs[name]()
        wait(device)
        wall[name].append(time.perf_counter() - wall_start)
        cpu[name].append(time.process_time() - cpu_start)
    return {name: summary(wall[name], cpu[name]) for name in names}


def turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Round and name: every name once a round, each round beginning with the next of them."""
    for number in range(rounds):
        shift = number % len(names)
        for name in (*names[shift:], *names[:shift]):
            yield number, name


def wait(device: str) -> None:
    """Until a GPU has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def summary(wall: Sequence[float], cpu: Sequence[float]) -> dict[str, Any]:
    """Of seconds of wall-clock and processor time, see `time_in_turn`."""
    quartiles = (
        statistics.quantiles(wall, n=4, method="inclusive") if len(wall) > 1 else [wall[0]] * 3
    )
    return {
        "n": len(wall),
        "median": statistics.median(wall),
        "min": min(wall),
        "max": max(wall),
        "spread": quartiles[2] - quartiles[0],
        "cpu_median": statistics.median(cpu),
        "seconds": list(wall),
    }


def ratios(timings: Mapping[str, Mapping[str, Any]], slow: str, fast: str) -> dict[str, float]:
    """How many times longer ``slow`` takes than ``fast``: of the medians and of the minima."""
    return {key: timings[slow][key] / timings[fast][key] for key in ("median", "min")}


def machine(device: str = "cpu") -> dict[str, Any]:
    """What the figures were taken on; ``load`` is the number of busy processes, 1 minute mean."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
    }
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def commit(folder: Path) -> str | None:
    """Of a checkout, shortened, with a plus sign where files were changed; None without git."""
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(git, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None


def arguments(description: str, *, device: str = "cpu") -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has: ``--json --rounds --device --seed``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="JSON file to write; printed when not given")
    parser.add_argument("--rounds", type=int, default=5, help="times each way is run [5]")
    parser.add_argument("--device", default=device, help=f"cpu or cuda [{device}]")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs [0]")
    return parser


def write(result: Mapping[str, Any], out: Path | None) -> None:
    """Write a result as JSON, or print it."""
    text = json.dumps(result, indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
        return
    write_text(out, text)


def random_codebook(
    size: int, dim: int, generator: torch.Generator, *, intrinsic: int = 8, scale: float = 2.0
) -> torch.Tensor:
    """Vectors on a random linear subspace, so that sums of codes have other codes near them.

    Codes drawn in all of a high-dimensional space are no model of a trained codebook: the nearest
    code to nearly every sum is then one of its two summands.
    """
    basis = torch.linalg.qr(torch.randn(dim, min(intrinsic, dim), generator=generator)).Q
    return scale * torch.randn(size, basis.shape[1], generator=generator) @ basis.T
