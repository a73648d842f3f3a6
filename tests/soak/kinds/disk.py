"""A disk that is full at some moment: one line, nothing half written; with room, all is done.

A small tmpfs where mounting is allowed (root), else a limit on the size of files.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.soak import invariants
from tests.soak.children import run_lqsep
from tests.soak.commands import COMMANDS, UNDISTURBED, same_files
from tests.soak.material import Material


def case(draw: random.Random, folder: Path, material: Material) -> Iterator[str]:
    name = draw.choice(list(COMMANDS))
    expected = UNDISTURBED.get(name, folder, material)
    place = folder / "place"
    place.mkdir()
    largest = int(expected.n_bytes * draw.uniform(0.05, 1.1))
    if draw.random() < 0.2 or not _mount(place, largest):
        # The largest file is a part of all.
        yield from _fill(name, folder, material, file_bytes=max(4096, largest // 3))
        return
    try:
        yield from _fill(name, folder, material)
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def _fill(
    name: str, folder: Path, material: Material, file_bytes: int | None = None
) -> Iterator[str]:
    command, place = COMMANDS[name], folder / "place"
    expected = UNDISTURBED.get(name, folder, material)
    try:
        command.prepare(place, material)
    except OSError:
        return  # too small for what must be there
    kept = invariants.snapshot(place)
    words = command.words(place, material)
    full = run_lqsep(words, folder, file_bytes=file_bytes, limit_s=120)

    def complaints() -> Iterator[str]:
        yield from invariants.ended_well(full, most_lines=24)
        yield from invariants.no_leftovers(folder)
        yield from invariants.empty(folder / "tmp")
        if name.startswith("separate"):
            yield from invariants.results_whole(place / "out" / "tiny")
        if full.code == 0:
            yield from same_files(place, expected)
        if name in ("import", "export") and full.code != 0:
            yield from invariants.unchanged(kept, invariants.snapshot(place), "the output folder")

    yield from invariants.about(full, complaints())
    if file_bytes is None:
        subprocess.run(["mount", "-o", "remount,size=256m", place], check=True)
    done = run_lqsep([*words, *(command.again if full.code != 0 else ())], folder, limit_s=300)
    again = [*invariants.ended_well(done, codes=(0,), most_lines=24), *same_files(place, expected)]
    if full.code != 0:
        yield from invariants.about(done, iter(again))


def _mount(place: Path, n_bytes: int) -> bool:
    size = f"size={max(4096, n_bytes)},mode=755"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", place]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
