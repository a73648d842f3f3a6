"""Seconds and memory of `lqsep separate`, from the command to the written stems.

    python benchmarks/separation_speed.py --music song.flac --threads 2 --json separation_speed.json

The music (two minutes of it at most; by default the example mixture) plays over and over as
44.1 kHz stereo until it has the length asked for. With it plays a copy of itself, 7 % faster and
with left and right exchanged, so that nothing rests and nothing comes again: memory and time may
depend on either. Every run is a process of its own, so that importing, loading the model and
writing count too; memory is the process's peak.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from _processes import Command, CommandError, measured
from _timing import arguments, machine, write

from lqsep.core.audio.resampling import resample

_EXAMPLE = Path(__file__).parents[1] / "examples" / "audio" / "drums-bass"
_RATE = 44_100

# Seconds of the recording that are used at most.
_MUSIC_S = 120

# Speed of the copy that plays along. Both begin together once in a hundred rounds.
_FASTER = 1.07

# Samples written at a time.
_BLOCK = 1 << 20


def example() -> Path:
    """The example mixture."""
    (file,) = _EXAMPLE.glob("mixture.*")
    return file


def long_mixture(music: Path, path: Path, seconds: float) -> None:
    """A recording over and over and over itself, at 44.1 kHz in stereo."""
    rate = soundfile.info(music).samplerate
    used_s = min(_MUSIC_S, _FASTER * seconds + 1)
    wave, _ = soundfile.read(music, round(used_s * rate), dtype="float32", always_2d=True)
    stereo = torch.from_numpy(wave[:, [0, min(1, wave.shape[1] - 1)]].T.copy())
    plain = resample(stereo, rate, _RATE).numpy()
    faster = resample(stereo, rate, round(_RATE / _FASTER)).numpy()[::-1]
    level = 1 / max(1.0, float(np.abs(plain).max() + np.abs(faster).max()) / 2)
    n_samples = round(seconds * _RATE)
    with soundfile.SoundFile(path, "w", _RATE, 2, "PCM_16") as file:
        for start in range(0, n_samples, _BLOCK):
            place = np.arange(start, min(start + _BLOCK, n_samples))
            parts = [part[:, place % part.shape[1]] for part in (plain, faster)]
            file.write((level / 2 * sum(parts)).T)


def run(path: Path, model: str, threads: int, folder: Path) -> dict[str, float]:
    """One separation, see `_processes.measured`."""
    words = [sys.executable, "-m", "lqsep", "-q", "separate", str(path), "-n", model, "-o"]
    try:
        return measured(Command((*words, str(folder))), threads)
    except CommandError as error:
        raise SystemExit(f"lqsep separate of {path.name} failed: {error}") from error


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--music", type=Path, default=example(), help="any recording [the example mixture]"
    )
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
            long_mixture(options.music, path, length)
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
            "settings": {
                "model": options.model,
                "threads": options.threads,
                "music": options.music.name,
            },
            "results": results,
        },
        options.json,
    )


if __name__ == "__main__":
    main()
