"""Which SoundFonts offer which drum kits and basses, and what each split may use of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lqsep.core.errors import ConfigError, LqsepError
from lqsep.plugins.rendering import compose, synth

Offer = dict[int, dict[Path, tuple[int, ...]]]
"""Programs by SoundFont, by General MIDI number."""

Value = TypeVar("Value", int, str)

# From this drum kit on the keys hold an orchestra's percussion and sound effects, not a drum set.
_ORCHESTRA_KIT = 48


@dataclass(frozen=True)
class HeldOut:
    """Drum kits, bass programs and genres for validation and test only."""

    kits: tuple[int, ...] = ()
    programs: tuple[int, ...] = ()
    genres: tuple[str, ...] = ()


@dataclass(frozen=True)
class Instruments:
    """What SoundFonts have: by General MIDI number, the programs of each SoundFont.

    Drum kits are listed with their variants, by the kit whose variants they are.
    """

    kits: Offer
    programs: Offer

    def draw(self, rng: random.Random, part: compose.Part) -> tuple[Path, int]:
        """A SoundFont and one of its programs for a part.

        One that fits as well as the others, where none has what the part asks for: the file of a
        user may ask for anything.
        """
        offer = self.kits if part.is_drums else self.programs
        number = compose.kit_family(part.program) if part.is_drums else part.program
        found = offer.get(number) or offer[rng.choice(list(offer))]
        soundfont = rng.choice(list(found))
        return soundfont, rng.choice(found[soundfont])


@dataclass(frozen=True)
class Choice:
    """What the tracks of one split are made of."""

    kits: tuple[int, ...]
    programs: tuple[int, ...]
    genres: tuple[str, ...]


def find_instruments(soundfonts: Iterable[Path]) -> Instruments:
    """Look into the SoundFonts. One may have drums only, or basses only.

    Raises:
        LqsepError: No drum kit or no bass in any of them, or a file is not a SoundFont.
    """
    kits: Offer = {}
    programs: Offer = {}
    for path in soundfonts:
        for bank, program in sorted(synth.soundfont_presets(path)):
            if bank == synth.DRUM_BANK and program < _ORCHESTRA_KIT:
                _add(kits, compose.kit_family(program), path, program)
            elif bank == 0 and program in compose.BASS_PROGRAMS:
                _add(programs, program, path, program)
    for found, what in ((kits, "drum kit (bank 128)"), (programs, "bass (programs 32 to 39)")):
        if not found:
            names = ", ".join(str(path) for path in soundfonts)
            raise LqsepError(f"{names}: there is no General MIDI {what}. Add a SoundFont.")
    return Instruments(dict(sorted(kits.items())), dict(sorted(programs.items())))


def _add(offer: Offer, number: int, path: Path, program: int) -> None:
    by_soundfont = offer.setdefault(number, {})
    by_soundfont[path] = (*by_soundfont.get(path, ()), program)


def choice_for(split: str, instruments: Instruments, held_out: HeldOut) -> Choice:
    """Held-out values are all that validation and test use, and what train never uses.

    Raises:
        ConfigError: Something held out does not exist, or nothing else would be left.
    """
    return Choice(
        kits=_allowed(split, tuple(instruments.kits), held_out.kits, "drum kits"),
        programs=_allowed(split, tuple(instruments.programs), held_out.programs, "bass programs"),
        genres=_allowed(split, compose.genre_names(), held_out.genres, "genres"),
    )


def _allowed(
    split: str, available: Sequence[Value], held_out: Sequence[Value], what: str
) -> tuple[Value, ...]:
    if missing := [value for value in held_out if value not in available]:
        have = ", ".join(str(value) for value in available)
        raise ConfigError(f"data render: cannot hold out {what} {missing}; there are {have}.")
    if not held_out:
        return tuple(available)
    is_train = split == "train"
    allowed = tuple(value for value in available if (value in held_out) != is_train)
    if not allowed:
        raise ConfigError(f"data render: holding out all {what} leaves none for train.")
    return allowed
