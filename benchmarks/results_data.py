"""The test sets of docs/results.md: rendered, and derived from rendered ones.

    python benchmarks/results_data.py data/results

Rendered by `lqsep data render`, with seeds that no training uses: ``patterns``, ``kits``,
``soundfont`` and, shorter, ``stereo``. Derived from the first tracks of ``patterns``:
``offset-12`` to ``offset+12``, in which the drums have so many dB more than the bass, over the
whole track; ``missing``, in which every track has one silent stem. ``sets.json`` says what the
folder holds and by which commands; `results.py` reads it. What is rendered already is kept.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lqsep.core.audio.files import read_audio, write_audio
from lqsep.core.files.new_file import write_text

SOURCES = ("drums", "bass")

OFFSETS_DB = (-12, -6, 0, 6, 12)

# Drum kits, bass programs and genres that the default model's training leaves out, and has.
# A test split has nothing else of what is held out; so what a set is to keep to is held out there.
HELD_OUT = ("16,25", "34,38", "soul,blues-shuffle,bossa-nova")
TRAINED = ("0,8,24,32,40", "32,33,35,36,37,39")

# The first from 101 on that gives each of the three genres four of twelve tracks.
_PATTERNS_SEED = 108

BASE = "patterns"
"""The set that others are derived from."""

# As it stands in commands for people to read, whatever the folder's name is here.
SHOWN = "data/results"

Stems = Mapping[str, np.ndarray]


def main() -> None:
    options = _arguments()
    rendered = render_commands(options)
    sets = []
    for name, (title, command) in rendered.items():
        print(f"{name}: rendering", flush=True)
        call = [sys.executable, "-m", "lqsep", *command, "-o", str(options.out / name)]
        subprocess.run([*call, "--jobs", str(options.jobs)], check=True)
        shown = shlex.join(["lqsep", *command, "-o", f"{SHOWN}/{name}"])
        sets.append({"name": name, "title": title, "commands": [shown]})
    tracks = sorted((options.out / BASE / "test").glob("[!.]*"))[: options.short_tracks]
    for name, title, variants in derived_sets(tracks, options.short_seconds):
        print(f"{name}: deriving", flush=True)
        write_tracks(options.out / name / "test", variants)
        sets.append({"name": name, "title": title, "commands": []})
    given = [word for word in sys.argv[1:] if Path(word) != options.out]
    shown = ["python", "benchmarks/results_data.py", SHOWN, *given]
    document = {"command": shlex.join(shown), "sets": sets}
    write_text(options.out / "sets.json", json.dumps(document, indent=2) + "\n")


def render_commands(options: argparse.Namespace) -> dict[str, tuple[str, list[str]]]:
    """By name of the set: title and arguments of lqsep, without the folder."""
    flags = ("--hold-out-kits", "--hold-out-programs", "--hold-out-genres")
    patterns = _interleaved(flags, (*TRAINED, HELD_OUT[2]))
    kits = _interleaved(flags[:2], HELD_OUT[:2])
    mono, stereo = ["--sample-rate", "22050", "--mono"], ["--sample-rate", "44100", "--stereo"]
    long = [*mono, "--test", str(options.tracks), "--duration", f"{options.seconds:g}"]
    short = ["--test", str(options.short_tracks), "--duration", f"{options.short_seconds:g}"]
    first, other = (["--soundfont", font] for font in (options.soundfont, options.other_soundfont))
    sets = {
        BASE: ("Unseen patterns", _PATTERNS_SEED, [*long, *first, *patterns]),
        "kits": ("Unseen kits and programs", 102, [*long, *first, *kits]),
        "soundfont": ("Another soundfont", 103, [*long, *other]),
        "stereo": ("44.1 kHz stereo", _PATTERNS_SEED, [*stereo, *short, *first, *patterns]),
    }
    return {
        name: (
            title,
            ["data", "render", "--tracks", "0", "--validation", "0", "--seed", str(seed), *more],
        )
        for name, (title, seed, more) in sets.items()
    }


def _interleaved(flags: Sequence[str], values: Sequence[str]) -> list[str]:
    return [word for pair in zip(flags, values, strict=True) for word in pair]


def derived_sets(
    tracks: list[Path], seconds: float
) -> Iterator[tuple[str, str, Iterator[tuple[str, int, Stems]]]]:
    """Name, title and tracks (name, sample rate, stems) of every set made of another."""

    def read() -> Iterator[tuple[str, int, Stems]]:
        for folder in tracks:
            waves = [read_audio(folder / f"{source}.wav") for source in SOURCES]
            rate = waves[0][1]
            stop = round(seconds * rate)
            stems = {s: wave[:, :stop] for s, (wave, _) in zip(SOURCES, waves, strict=True)}
            yield folder.name, rate, stems

    for offset_db in OFFSETS_DB:
        title = f"Drums {offset_db:+d} dB against the bass"
        yield f"offset{offset_db:+d}", title, _shifted(read(), offset_db)
    yield "missing", "A missing source", _missing(read())


def at_offset(stems: Stems, offset_db: float) -> Stems:
    """The louder stem made softer, until the drums have ``offset_db`` more RMS than the bass."""
    drums, bass = (stems[source] for source in SOURCES)
    change_db = offset_db - (level_db(drums) - level_db(bass))
    drums_db, bass_db = min(change_db, 0.0), min(-change_db, 0.0)
    return {"drums": drums * 10 ** (drums_db / 20), "bass": bass * 10 ** (bass_db / 20)}


def level_db(wave: np.ndarray) -> float:
    """RMS relative to full scale.

    Raises:
        ValueError: The wave is silent.
    """
    return 10 * math.log10(np.square(wave, dtype=np.float64).mean())


def _shifted(
    tracks: Iterator[tuple[str, int, Stems]], offset_db: float
) -> Iterator[tuple[str, int, Stems]]:
    for name, rate, stems in tracks:
        yield name, rate, at_offset(stems, offset_db)


def _missing(tracks: Iterator[tuple[str, int, Stems]]) -> Iterator[tuple[str, int, Stems]]:
    for name, rate, stems in tracks:
        for absent in SOURCES:
            kept = {s: np.zeros_like(w) if s == absent else w for s, w in stems.items()}
            yield f"{name}-no-{absent}", rate, kept


def write_tracks(folder: Path, tracks: Iterator[tuple[str, int, Stems]]) -> None:
    """In 32-bit floating point, so that a soft stem keeps its shape; replaces what is there."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    for name, rate, stems in tracks:
        (temporary / name).mkdir(parents=True)
        for source, wave in stems.items():
            write_audio(temporary / name / f"{source}.wav", wave, rate, subtype="FLOAT")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def _arguments() -> argparse.Namespace:
    fonts = "/usr/share/sounds/sf2"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--soundfont", default=f"{fonts}/FluidR3_GM.sf2", help="the training's")
    parser.add_argument("--other-soundfont", default=f"{fonts}/TimGM6mb.sf2")
    parser.add_argument("--tracks", type=int, default=12, help="of the first three sets [12]")
    parser.add_argument("--seconds", type=float, default=20.0, help="per track of these [20]")
    parser.add_argument("--short-tracks", type=int, default=8, help="of the others [8]")
    parser.add_argument("--short-seconds", type=float, default=10.0, help="likewise [10]")
    parser.add_argument("--jobs", type=int, default=1, help="tracks rendered at a time [1]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
