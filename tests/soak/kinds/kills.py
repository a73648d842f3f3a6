"""Commands that are ended at a random moment, then given again: as if nothing had happened."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.soak import invariants
from tests.soak.children import Outcome, Strike, run_lqsep
from tests.soak.commands import COMMANDS, UNDISTURBED, same_files
from tests.soak.material import Material

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# They refuse a place that is filled.
_ONCE = {"import", "export"}


def case(draw: random.Random, folder: Path, material: Material) -> Iterator[str]:
    name = draw.choice(list(COMMANDS))
    command = COMMANDS[name]
    expected = UNDISTURBED.get(name, folder, material)
    place = folder / "place"
    place.mkdir()
    command.prepare(place, material)
    words = command.words(place, material)
    before = invariants.snapshot(material.folder)
    for _ in range(draw.choice((1, 1, 2))):
        number = draw.choice(_SIGNALS)
        again_s = draw.choice((None, None, None, draw.uniform(0, 0.3)))
        strike = Strike(
            draw.uniform(0, 1.05) * expected.seconds, number, draw.random() < 0.4, again_s
        )
        done = run_lqsep(words, folder, strike=strike, limit_s=120)
        yield from invariants.about(done, _after(done, strike, folder))
        if name in _ONCE and not list(same_files(place, expected)):
            return  # It was done when it was struck.
        words = [*command.words(place, material), *command.again]
    done = run_lqsep(words, folder, limit_s=300)

    def complaints() -> Iterator[str]:
        yield from invariants.ended_well(done, codes=(0,), most_lines=20)
        yield from invariants.no_leftovers(place)
        yield from same_files(place, expected)
        after = invariants.snapshot(material.folder)
        yield from invariants.unchanged(before, after, "what it was given")

    yield from invariants.about(done, complaints())


def _after(done: Outcome, strike: Strike, folder: Path) -> Iterator[str]:
    if strike.number == signal.SIGKILL:
        if done.strays:
            yield f"{done.strays} processes live on"
        return
    code = invariants.CODES_BY_SIGNAL[strike.number]
    yield from invariants.ended_well(done, codes=(0, code), most_lines=20)
    yield from invariants.no_leftovers(folder)
    yield from invariants.empty(folder / "tmp")
