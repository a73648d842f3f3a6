"""Compose a drum part and a bass part that belong together, as note events.

The same seed gives the same composition; nothing here reads files or makes sound.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lqsep.core.errors import ConfigError
from lqsep.plugins.rendering import genres
from lqsep.plugins.rendering.genres import GENRES, Genre, Layer

BASS_PROGRAMS = tuple(range(32, 40))
"""The General MIDI bass programs, numbered from 0."""

ANALOG_KIT = 25
"""The one General MIDI kit that is not at a multiple of eight, and no variant of another."""

# Lowest and highest bass pitches: the open E string of a bass guitar to its twelfth fret on A.
BASS_LOW, BASS_HIGH = 28, 57

_VELOCITY = {"X": 114, "x": 92, "?": 84, "o": 48}
_ROMAN = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
_CHORD = {"R": 0, "5": 7, "6": 9, "7": 10, "8": 12}
_DRUM_NOTE_S = 0.12
# Ranges of velocity offsets, drawn per piece: SoundFont bass drums are loud, cymbals soft, compared
# with drums in finished music.
_KICK_BALANCE, _SNARE_BALANCE, _CYMBAL_BALANCE = (-34, -8), (-4, 14), (-10, 22)
# Ranges of further offsets of all velocities: soft and hard playing sound different.
_DRUM_LOUDNESS, _BASS_LOUDNESS = (-18, 8), (-24, 12)
# Other keys for the same drum, of which a piece uses one throughout.
_ALTERNATIVES = {
    genres.KICK: (genres.KICK, genres.KICK, 35),
    genres.SNARE: (genres.SNARE, genres.SNARE, 40),
    genres.RIDE: (genres.RIDE, genres.RIDE, 59),
    genres.CRASH: (genres.CRASH, 57, 55, 52),
}
# Tempos may leave the range of the genre by this factor.
_TEMPO_MARGIN = 1.08
# The share of pieces with a kit or program that is usual in their genre.
_USUAL = 0.6


@dataclass(frozen=True)
class Note:
    """One note event; times in seconds from the start of the piece."""

    start_s: float
    duration_s: float
    pitch: int
    velocity: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """The notes of one instrument.

    ``program`` is the kit of a drum part or the General MIDI program of a bass part, ``detune`` an
    offset of the whole part in semitones. ``sample_shift`` semitones change the timbre and not the
    pitch: lower notes are played that much higher.
    """

    program: int
    notes: tuple[Note, ...]
    is_drums: bool
    detune: float = 0.0
    sample_shift: int = 0


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A drum part and a bass part of the same piece."""

    genre: str
    tempo: float
    swing: float
    key: int
    drums: Part
    bass: Part


@dataclass(frozen=True)
class _Section:
    """The patterns of a few bars; ``tacet`` names the part that rests, if any."""

    n_bars: int
    kick: str
    layers: tuple[Layer, ...]
    bass: str
    loudness: int
    tacet: str


@dataclass(frozen=True)
class _DrumSet:
    """Velocity offsets of some percussion keys, of all of them, and keys played instead."""

    balance: dict[int, int]
    loudness: int
    keys: dict[int, int]


class _Clock:
    """Grid steps to seconds, with swing and human timing."""

    def __init__(
        self, genre: Genre, tempo: float, swing: float, jitter_s: float, rng: random.Random
    ):
        self.step_s = 60.0 / tempo / genre.steps_per_beat
        self._swing, self._jitter_s, self._rng = swing, jitter_s, rng

    def at(self, step: int) -> float:
        late = self._swing * self.step_s if step % 2 else 0.0
        return max(0.0, step * self.step_s + late + self._rng.gauss(0.0, self._jitter_s))


def genre_names() -> tuple[str, ...]:
    """Names accepted by ``compose``."""
    return tuple(genre.name for genre in GENRES)


def kit_family(kit: int) -> int:
    """The General MIDI kit of which a SoundFont's kit is a variant: 3 belongs to kit 0."""
    return kit if kit == ANALOG_KIT else kit - kit % 8


def compose(
    seed: int,
    duration_s: float,
    *,
    kits: Sequence[int] = (0,),
    programs: Sequence[int] = BASS_PROGRAMS,
    genres: Sequence[str] = (),
) -> Composition:
    """Compose at least ``duration_s`` seconds of drums and bass.

    Args:
        seed: Decides everything not given.
        duration_s: Length; the last bar may be longer.
        kits: Drum kits to choose from. Those usual in the genre are preferred.
        programs: Bass programs to choose from, likewise.
        genres: Of ``genre_names()``, to choose from; by default all.

    Raises:
        ConfigError: A genre is unknown, or there is no kit or program to choose from.
    """
    if unknown := sorted(set(genres) - set(genre_names())):
        known = ", ".join(genre_names())
        raise ConfigError(f"compose: no genre named {unknown[0]!r}. Available: {known}.")
    rng = random.Random(seed)
    chosen = rng.choice([genre for genre in GENRES if not genres or genre.name in genres])
    kit = _choose(rng, chosen.kits, kits, "drum kits")
    program = _choose(rng, chosen.programs, programs, "bass programs")
    low, high = chosen.tempo
    tempo = round(rng.uniform(low / _TEMPO_MARGIN, high * _TEMPO_MARGIN), 1)
    swing = round(rng.uniform(*chosen.swing), 3)
    clock = _Clock(chosen, tempo, swing, rng.uniform(*chosen.timing_ms) / 1000, rng)
    key = rng.randrange(12)
    chords = _chords(rng, rng.choice(chosen.progressions))
    n_bars = int(duration_s / (clock.step_s * chosen.steps_per_bar)) + 1
    drums: list[Note] = []
    bass: list[Note] = []
    hold = rng.uniform(0.55, 1.0)
    drum_set = _draw_drum_set(rng)
    bass_loudness = rng.randint(*_BASS_LOUDNESS)
    first_bar = 0
    sections = _sections(rng, chosen, n_bars)
    for section in sections:
        if section.tacet != "drums":
            drums += _drum_notes(rng, chosen, clock, section, first_bar, drum_set)
        if section.tacet != "bass":
            # Half of a section's loudness reaches its bass.
            louder = replace(section, loudness=section.loudness + 2 * bass_loudness)
            bass += _bass_notes(rng, chosen, clock, louder, first_bar, key, chords, hold)
        first_bar += section.n_bars
    return Composition(
        genre=chosen.name,
        tempo=tempo,
        swing=swing,
        key=key,
        drums=Part(
            program=kit,
            notes=_sorted(drums),
            is_drums=True,
            detune=_draw_detune(rng, 0.6, 3.0),
        ),
        bass=Part(
            program=program,
            notes=_monophonic(_sorted(bass)),
            is_drums=False,
            detune=_draw_detune(rng, 0.12, 0.5),
            sample_shift=rng.randint(-7, 7) if rng.random() < 0.5 else 0,
        ),
    )


def _choose(rng: random.Random, usual: Sequence[int], allowed: Sequence[int], what: str) -> int:
    """Mostly what is usual in the genre, sometimes anything allowed."""
    if not allowed:
        raise ConfigError(f"compose: there are no {what} to choose from.")
    preferred = [value for value in usual if value in allowed]
    return rng.choice(preferred if preferred and rng.random() < _USUAL else list(allowed))


def _draw_detune(rng: random.Random, spread: float, limit: float) -> float:
    """Mostly near to nothing, sometimes anything up to the limit."""
    if rng.random() < 0.3:
        return round(rng.uniform(-limit, limit), 3)
    return round(max(-limit, min(limit, rng.gauss(0.0, spread))), 3)


def _chords(rng: random.Random, progression: str) -> list[tuple[int, bool]]:
    """(semitones above the key, is minor) for each bar, from roman numerals."""
    chords = []
    for numeral in progression.split():
        shift = -1 if numeral.startswith("b") else 0
        plain = numeral.removeprefix("b")
        chords.append(((_ROMAN[plain.upper()] + shift) % 12, plain.islower()))
    bars_per_chord = 2 if rng.random() < 0.2 else 1
    return [chord for chord in chords for _ in range(bars_per_chord)]


def _sections(rng: random.Random, genre: Genre, n_bars: int) -> list[_Section]:
    """Two alternating sets of patterns; each part rests in at most a quarter of the bars."""
    ideas = [_idea(rng, genre, 4), _idea(rng, genre, 4)]
    sections: list[_Section] = []
    done = 0
    rests = {"bass": 0, "drums": 0}
    while done < n_bars:
        length = min(rng.choice((2, 4, 4, 4, 8)), n_bars - done)
        tacet = ""
        draw = rng.random()
        short = min(length, 2)
        wish = "bass" if draw < 0.12 else "drums" if draw < 0.22 else ""
        if wish and rests[wish] + short <= n_bars // 4:
            tacet, length = wish, short
            rests[wish] += short
        idea = ideas[0] if rng.random() < 0.65 else ideas[1]
        sections.append(replace(idea, n_bars=length, tacet=tacet))
        done += length
    return sections


def _idea(rng: random.Random, genre: Genre, n_bars: int) -> _Section:
    kick = _mutate(rng, rng.choice(genre.kicks), add="x", rate=0.04)
    layers = [rng.choice(genre.snares), rng.choice(genre.cymbals)]
    if genre.extras and rng.random() < 0.5:
        layers.append(rng.choice(genre.extras))
    bass = rng.choice(genre.basses)
    if "w" not in bass:
        follows_kick = rng.random() < 0.3
        bass = _from_kick(rng, kick) if follows_kick else _mutate(rng, bass, add="R58", rate=0.05)
    return _Section(n_bars, kick, tuple(layers), bass, rng.randint(-14, 8), "")


def _mutate(rng: random.Random, pattern: str, *, add: str, rate: float) -> str:
    """Drop a few hits and add a few: nobody plays exactly the table.

    The first step stays, and so does a pattern that would lose all its hits.
    """
    steps = list(pattern)
    for index in range(1, len(steps)):
        if steps[index] == ".":
            if rng.random() < rate:
                steps[index] = rng.choice(add)
        elif steps[index] != "-" and rng.random() < 1.5 * rate:
            steps[index] = "-" if steps[index - 1] not in ".xXo?" else "."
    mutated = "".join(steps)
    return mutated if mutated.strip(".-") else pattern


def _from_kick(rng: random.Random, kick: str) -> str:
    """A bass pattern that plays with the bass drum and answers between its hits."""
    steps = []
    sounding = False
    for index, hit in enumerate(kick):
        if hit != "." or index == 0:
            steps.append(rng.choice("RRRR58"))
            sounding = True
        elif rng.random() < 0.12:
            steps.append(rng.choice("R3578"))
            sounding = True
        else:
            sounding = sounding and rng.random() < 0.75
            steps.append("-" if sounding else ".")
    return "".join(steps)


def _draw_drum_set(rng: random.Random) -> _DrumSet:
    snare = rng.randint(*_SNARE_BALANCE)
    cymbal = rng.randint(*_CYMBAL_BALANCE)
    hats = (genres.CLOSED_HAT, genres.PEDAL_HAT, genres.OPEN_HAT)
    balance = {
        genres.KICK: rng.randint(*_KICK_BALANCE),
        **dict.fromkeys((genres.SNARE, genres.CLAP, genres.SIDE_STICK), snare),
        **dict.fromkeys((*hats, genres.RIDE, genres.RIDE_BELL), cymbal),
    }
    keys = {key: rng.choice(others) for key, others in _ALTERNATIVES.items()}
    return _DrumSet(balance, rng.randint(*_DRUM_LOUDNESS), keys)


def _drum_notes(
    rng: random.Random,
    genre: Genre,
    clock: _Clock,
    section: _Section,
    first_bar: int,
    drum_set: _DrumSet,
) -> list[Note]:
    notes: list[Note] = []
    n_steps = genre.steps_per_bar
    fill_steps = rng.choice((0, 1, 1, 2)) * genre.steps_per_beat
    has_crash = rng.random() < 0.5
    lines: list[tuple[int, str]] = [(genres.KICK, section.kick)]
    lines += [line for layer in section.layers for line in layer]

    def hit(step: int, pitch: int, velocity: float) -> None:
        offset = section.loudness + drum_set.loudness + drum_set.balance.get(pitch, 0)
        loud = max(8, min(127, round(velocity + offset + rng.gauss(0.0, 5.0))))
        key = drum_set.keys.get(pitch, pitch)
        notes.append(Note(clock.at(step), _DRUM_NOTE_S, key, loud))

    for bar in range(section.n_bars):
        is_last = bar == section.n_bars - 1
        for pitch, pattern in lines:
            for step, mark in enumerate(pattern):
                in_fill = is_last and step >= n_steps - fill_steps
                skipped = mark == "?" and rng.random() < 0.5
                if mark == "." or in_fill or skipped or (step and rng.random() < 0.02):
                    continue
                if pitch == genres.CLOSED_HAT and bar == 0 and step == 0 and has_crash:
                    hit((first_bar + bar) * n_steps, genres.CRASH, 104)
                    continue
                hit((first_bar + bar) * n_steps + step, pitch, _VELOCITY[mark])
    start = (first_bar + section.n_bars) * n_steps - fill_steps
    for offset, pitch, velocity in _fill(rng, fill_steps):
        hit(start + offset, pitch, velocity)
    return notes


def _fill(rng: random.Random, n_steps: int) -> list[tuple[int, int, int]]:
    """(step, key, velocity) of a fill: a snare roll, tumbling toms, scattered hits, or a stop."""
    kind = rng.choice(("roll", "toms", "toms", "scatter", "stop"))
    hits = []
    for step in range(n_steps):
        progress = step / n_steps
        if kind == "roll":
            hits.append((step, genres.SNARE, round(60 + 50 * progress)))
        elif kind == "toms" and rng.random() < 0.9:
            hits.append((step, genres.TOMS[int(progress * len(genres.TOMS))], rng.randint(85, 112)))
        elif kind == "scatter" and rng.random() < 0.7:
            hits.append((step, rng.choice((genres.SNARE, genres.KICK, *genres.TOMS)), 96))
        elif kind == "stop" and step == 0:
            hits.append((step, genres.SNARE, 112))
    return hits


def _bass_notes(
    rng: random.Random,
    genre: Genre,
    clock: _Clock,
    section: _Section,
    first_bar: int,
    key: int,
    chords: list[tuple[int, bool]],
    hold: float,
) -> list[Note]:
    notes: list[Note] = []
    n_steps = genre.steps_per_bar
    for bar in range(first_bar, first_bar + section.n_bars):
        root, is_minor = chords[bar % len(chords)]
        root_pitch = _fold(key + root + 24)
        next_pitch = _fold(key + chords[(bar + 1) % len(chords)][0] + 24)
        pattern = section.bass
        if rng.random() < 0.25 and "w" not in pattern:
            pattern = _mutate(rng, pattern, add="R58", rate=0.06)
        walk = _walk(rng, root_pitch, next_pitch, is_minor, pattern.count("w"))
        for step, mark in enumerate(pattern):
            if mark in ".-":
                continue
            steps = 1
            while step + steps < n_steps and pattern[step + steps] == "-":
                steps += 1
            velocity = rng.gauss(98.0 if step == 0 else 90.0, 6.0) + section.loudness / 2
            length_s = steps * clock.step_s * hold
            if mark == "w":
                pitch = walk.pop(0)
                length_s = steps * clock.step_s * 0.95
            elif mark == "x":
                pitch, velocity, length_s = root_pitch, velocity - 40, 0.04
            elif mark == "a":
                pitch = next_pitch + rng.choice((-1, 1, -2))
            elif mark == "d":
                pitch = next_pitch + 7
            elif mark == "3":
                pitch = root_pitch + (3 if is_minor else 4)
            else:
                pitch = root_pitch + _CHORD[mark]
            start_s = clock.at(bar * n_steps + step)
            loud = max(20, min(127, round(velocity)))
            notes.append(Note(start_s, max(length_s, 0.03), _fold(pitch, BASS_HIGH), loud))
    return notes


def _walk(rng: random.Random, root: int, target: int, is_minor: bool, n_notes: int) -> list[int]:
    """Root first, then steps and chord tones, and a neighbour of the next root at the end."""
    scale = (0, 2, 3, 5, 7, 9, 10, 12) if is_minor else (0, 2, 4, 5, 7, 9, 10, 12)
    index, pitches = 0, []
    direction = rng.choice((1, 1, -1))
    for position in range(n_notes):
        if position == 0:
            pitches.append(root)
        elif position == n_notes - 1:
            pitches.append(target + rng.choice((-1, 1, 2, -2)))
        else:
            index += direction * rng.choice((1, 2, 2))
            octave, degree = divmod(index, 7)
            pitches.append(root + 12 * octave + scale[degree])
    return pitches


def _fold(pitch: int, high: int = BASS_LOW + 14) -> int:
    """Move a pitch by octaves into the bass range."""
    while pitch < BASS_LOW:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return pitch


def _sorted(notes: list[Note]) -> tuple[Note, ...]:
    return tuple(sorted(notes, key=lambda note: (note.start_s, note.pitch)))


def _monophonic(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """End each note where the next one starts: a bass plays one note at a time."""
    kept = []
    for note, following in zip(notes, notes[1:], strict=False):
        gap_s = following.start_s - note.start_s
        if gap_s > 0.005:
            kept.append(replace(note, duration_s=min(note.duration_s, gap_s)))
    return (*kept, *notes[-1:])
