"""Damaged metadata and stems of Slakh2100: the damaged track is told, the other one written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import soundfile

from tests.soak import invariants
from tests.soak.children import run_lqsep
from tests.soak.material import Material, noise
from tests.soak.mutation import damaged, write_damaged_text

_ENTRY = """\
  {stem}:
    audio_rendered: true
    inst_class: {name}
    integrated_loudness: -24.1
    is_drum: {drum}
    midi_program_name: Acoustic
    midi_saved: true
    plugin_name: some.nkm
    program_num: {program}
"""
_HEAD = "UUID: 0a1b\naudio_dir: stems\nmidi_dir: MIDI\nnormalized: true\nstems:\n"


def case(draw: random.Random, folder: Path, material: Material) -> Iterator[str]:
    root, out = folder / "slakh", folder / "out"
    make_track(root / "train" / "Track00001")
    spoilt = root / "train" / "Track00002"
    make_track(spoilt)
    metadata = spoilt / "metadata.yaml"
    kind = draw.random()
    if kind < 0.8:
        metadata.write_bytes(write_damaged_text(metadata.read_text(), draw))
    elif kind < 0.9:
        stem = draw.choice(sorted((spoilt / "stems").iterdir()))
        stem.write_bytes(damaged(stem.read_bytes(), draw))
    else:
        metadata.write_text(draw.choice(("", "[" * 5000, "a: &a [*a]", "- 1", "\t", "? x", _BOMB)))
    before = invariants.snapshot(root)
    command = ["data", "slakh", root, "-o", out, "--sample-rate", "8000"]
    if draw.random() < 0.2:
        command = ["data", "check", root, "--dataset", "slakh"]
    done = run_lqsep(command, folder, limit_s=60)

    def complaints() -> Iterator[str]:
        yield from invariants.ended_well(done, codes=(0, 1), tells="check" not in command)
        yield from invariants.unchanged(before, invariants.snapshot(root), "data")
        yield from invariants.no_leftovers(folder)
        yield from invariants.empty(folder / "tmp")
        if "check" in command:
            return
        for source in ("drums", "bass"):
            if not (out / source / "train" / "Track00001.wav").exists():
                yield f"{source} of the good track was not written"
        found = [(out / s / "train" / "Track00002.wav").exists() for s in ("drums", "bass")]
        if found[0] != found[1]:
            yield "one source of the damaged track was written, the other was not"

    yield from invariants.about(done, complaints())


# Aliases of aliases: ten thousand million entries when it is written out.
_BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


def make_track(folder: Path) -> None:
    (folder / "stems").mkdir(parents=True)
    text = _HEAD
    for number, (name, drum) in enumerate(
        (("Drums", "true"), ("Bass", "false"), ("Piano", "false"))
    ):
        stem = f"S{number:02d}"
        text += _ENTRY.format(stem=stem, name=name, drum=drum, program=number)
        soundfile.write(folder / "stems" / f"{stem}.flac", noise(2000, 1, number), 8000)
    (folder / "metadata.yaml").write_text(text)
