"""Damaged MIDI files beside a good one, for ``lqsep data render --midi``."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import mido

from tests.soak import invariants
from tests.soak.children import run_lqsep
from tests.soak.material import Material
from tests.soak.mutation import damaged

SOUNDFONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")


def case(draw: random.Random, folder: Path, material: Material) -> Iterator[str]:
    if shutil.which("fluidsynth") is None or not SOUNDFONT.is_file():
        return
    songs, out = folder / "songs", folder / "out"
    songs.mkdir()
    if is_good := draw.random() < 0.5:
        (songs / "good.mid").write_bytes(_song(random.Random(0), songs))
    for index in range(draw.choice((1, 1, 3))):
        (songs / f"damaged{index}.mid").write_bytes(damaged(_song(draw, songs), draw))
    before = invariants.snapshot(songs)
    command = ["data", "render", "-o", out, "--midi", songs, "--soundfont", SOUNDFONT, "--mono"]
    command += ["--duration", 1, "--sample-rate", 8000, "--tracks", 50, "--validation", 0]
    command += ["--test", 0, "--no-augment"]
    done = run_lqsep(command, folder, limit_s=90)

    def complaints() -> Iterator[str]:
        yield from invariants.ended_well(done, codes=(0, 1) if is_good else (0, 1, 2))
        yield from invariants.unchanged(before, invariants.snapshot(songs), "songs")
        yield from invariants.no_leftovers(folder)
        yield from invariants.empty(folder / "tmp")
        for track in out.glob("*/*"):
            if track.is_dir() and {path.name for path in track.iterdir()} != {
                "drums.wav", "bass.wav", "track.json",
            }:  # fmt: skip
                yield f"{track.name} holds {sorted(path.name for path in track.iterdir())}"
        if is_good and not list(out.glob("*/*/drums.wav")):
            yield "the good file was not rendered"

    yield from invariants.about(done, complaints())


def _song(draw: random.Random, folder: Path) -> bytes:
    file = mido.MidiFile(type=draw.choice((0, 1, 1)), ticks_per_beat=draw.choice((96, 480)))
    track = mido.MidiTrack()
    if draw.random() < 0.5:
        track.append(mido.MetaMessage("set_tempo", tempo=500_000))
    track.append(mido.Message("program_change", channel=0, program=33))
    for _ in range(draw.choice((2, 20))):
        for channel, note in ((9, draw.choice((36, 38, 42))), (0, draw.randint(28, 50))):
            track.append(mido.Message("note_on", channel=channel, note=note, velocity=90))
            off = mido.Message("note_off", channel=channel, note=note, time=draw.randint(0, 200))
            track.append(off)
    file.tracks.append(track)
    path = folder.parent / "song.mid"
    file.save(str(path))
    return path.read_bytes()
