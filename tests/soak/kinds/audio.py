"""Damaged audio files beside a good one: a line for each that is not read, the good one done."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import soundfile

from tests.soak import invariants
from tests.soak.children import run_lqsep
from tests.soak.material import Material, noise
from tests.soak.mutation import damaged

# Formats whose writers know a file's length from the start; raw ones have no header to damage.
FORMATS = (
    "WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "VOC", "SVX", "NIST",
    "PAF", "IRCAM", "MAT4", "MAT5", "PVF", "XI", "HTK", "SDS", "AVR", "MPC2K", "WVE",
)  # fmt: skip
_ENDINGS = {"WAVEX": "wav", "RF64": "rf64", "MAT4": "mat", "MAT5": "mat", "IRCAM": "sf"}


def case(draw: random.Random, folder: Path, material: Material) -> Iterator[str]:
    inputs, out = folder / "in", folder / "out"
    inputs.mkdir()
    paths = [_write_damaged(inputs, index, draw) for index in range(draw.choice((1, 1, 2)))]
    before = invariants.snapshot(inputs)
    flags = draw.choice(([], [], ["--float32"], ["--format", "flac"], ["--start", "0.1"]))
    flags = [*flags, *draw.choice(([], [], ["--duration", "0.2"], ["--residual"]))]
    command = ["separate", *paths, material.good, "-n", material.model, "-o", out, "-d", "cpu"]
    done = run_lqsep([*command, "--json", *flags], folder, limit_s=60)

    def complaints() -> Iterator[str]:
        yield from invariants.ended_well(done, codes=(0, 1), names="damaged")
        yield from invariants.tracks_told(done, out / "tiny")
        yield from invariants.results_whole(out / "tiny")
        yield from invariants.no_leftovers(folder)
        yield from invariants.empty(folder / "tmp")
        yield from invariants.unchanged(before, invariants.snapshot(inputs), "inputs")
        if not (out / "tiny" / "good" / "lqsep.json").exists():
            yield "the good input was not done"

    yield from invariants.about(done, complaints())


def _write_damaged(folder: Path, index: int, draw: random.Random) -> Path:
    name = draw.choice(FORMATS)
    subtypes = [s for s in soundfile.available_subtypes(name) if soundfile.check_format(name, s)]
    path = folder / f"damaged{index}.{_ENDINGS.get(name, name.lower())}"
    channels = draw.choice((1, 1, 2, 2, 4))
    rate = draw.choice((8000, 8000, 22050, 44100, 48000))
    wave = noise(draw.choice((1, 100, 2000, 9000)), channels, seed=draw.randrange(1000))
    for subtype in draw.sample(subtypes, len(subtypes)):
        for shape, hertz in ((wave, rate), (wave[:, :1], 8000)):
            try:
                soundfile.write(path, shape, hertz, format=name, subtype=subtype)
            except (soundfile.LibsndfileError, ValueError):
                path.unlink(missing_ok=True)
                continue
            if draw.random() < 0.97:
                path.write_bytes(
                    damaged(path.read_bytes(), draw, header=draw.choice((16, 64, 256)))
                )
            return path
    path.write_bytes(draw.randbytes(100))
    return path
