"""Seconds and memory of `lqsep separate`, from the command to the written stems.

    python benchmarks/separation_speed.py --threads 2 --json separation_speed.json

The example mixture is repeated until it has the length asked for, as 44.1 kHz stereo. Every run is
a process of its own, so that importing, loading the model and writing count too; memory is the
process's peak.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from _timing import arguments, machine, write

from lqsep.core.audio.resampling import resample

_EXAMPLE = Path(__file__).parents[1] / "examples" / "audio" / "drums-bass"
_RATE = 44_100


def long_mixture(path: Path, seconds: float) -> None:
    """The example mixture over and over, at 44.1 kHz in stereo."""
    (file,) = _EXAMPLE.glob("mixture.*")
    wave, rate = soundfile.read(file, dtype="float32", always_2d=True)
    wave = resample(torch.from_numpy(wave.T), rate, _RATE).numpy()
    left, right = wave[0], wave[-1]
    n_samples = round(seconds * _RATE)
    repeats = -(-n_samples // wave.shape[1])
    stereo = np.stack([np.tile(left, repeats), np.tile(right, repeats)], 1)[:n_samples]
    soundfile.write(path, stereo, _RATE, subtype="PCM_16")


def run(path: Path, model: str, threads: int, folder: Path) -> dict[str, float]:
    """One separation: seconds by the clock and of the processor, peak of memory in bytes."""
    command = [sys.executable, "-m", "lqsep", "-q", "separate", str(path), "-n", model, "-o"]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    process = subprocess.Popen([*command, str(folder)], env=environment)
    _, status, used = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed")
    return _figures(elapsed, used)


def _figures(elapsed: float, used: resource.struct_rusage) -> dict[str, float]:
    return {
        "seconds": elapsed,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_memory_bytes": 1024 * used.ru_maxrss,
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", default="drums-bass", help="[drums-bass]")
    parser.add_argument("--threads", type=int, default=2, help="of every run [2]")
    parser.add_argument(
        "--lengths", default="20,60,600", help="seconds of audio, with commas [20,60,600]"
    )
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for length in (float(text) for text in options.lengths.split(",")):
            path = folder / f"{length:g}.wav"
            long_mixture(path, length)
            found = [
                run(path, options.model, options.threads, folder / f"{length:g}-{number}")
                for number in range(options.rounds)
            ]
            results.append(
                {
                    "audio_s": length,
                    "runs": found,
                    "seconds_per_second": [figures["seconds"] / length for figures in found],
                }
            )
    write(
        {
            "benchmark": "separation_speed",
            "machine": machine(),
            "settings": {"model": options.model, "threads": options.threads},
            "results": results,
        },
        options.json,
    )


if __name__ == "__main__":
    main()
