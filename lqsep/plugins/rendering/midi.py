"""Parts to MIDI files, and a user's MIDI file to a drum part and a bass part."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import mido

from lqsep.core.errors import LqsepError, first_line
from lqsep.plugins.rendering.compose import BASS_PROGRAMS, Note, Part

DRUM_CHANNEL = 9
"""General MIDI percussion: channel 10 for people, 9 in the file."""

_BASS_CHANNEL = 0
# At a fixed 120 beats per minute one tick is then 0.5 ms, finer than a FluidSynth block (1.5 ms).
_TICKS_PER_BEAT = 1000
_TICKS_PER_SECOND = 2 * _TICKS_PER_BEAT
# Pitch-bend range asked of the synthesiser, in semitones each way.
_BEND_RANGE = 12
# Longer pieces are damaged files: their tables of excerpts would not fit into memory.
_LONGEST_S = 86_400.0
# Controllers that set it: registered parameter 0, its value.
_BEND_CONTROLS = ((101, 0), (100, 0), (6, _BEND_RANGE))


def write_midi(path: Path, part: Part, duration_s: float) -> None:
    """Write one part as a MIDI file of ``duration_s`` seconds; later notes are left out.

    The file counts time at 120 beats per minute whatever the tempo of the piece: notes are in
    seconds.
    """
    channel = DRUM_CHANNEL if part.is_drums else _BASS_CHANNEL
    end = _ticks(duration_s)
    # Note-offs (order 0) go before note-ons of the same tick, so that repeated notes sound again.
    events: list[tuple[int, int, mido.Message]] = []
    for note in part.notes:
        start = _ticks(note.start_s)
        if start >= end:
            continue
        stop = min(end, max(start + 1, _ticks(note.start_s + note.duration_s)))
        key = note.pitch - part.sample_shift
        on = mido.Message("note_on", channel=channel, note=key, velocity=note.velocity)
        off = mido.Message("note_off", channel=channel, note=key, velocity=0)
        events += [(start, 1, on), (stop, 0, off)]
    events.sort(key=lambda event: event[:2])
    semitones = part.detune + part.sample_shift
    bend = max(-8192, min(8191, round(semitones / _BEND_RANGE * 8192)))
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=500_000))
    track.append(mido.Message("program_change", channel=channel, program=part.program))
    for control, value in _BEND_CONTROLS:
        track.append(mido.Message("control_change", channel=channel, control=control, value=value))
    track.append(mido.Message("pitchwheel", channel=channel, pitch=bend))
    now = 0
    for tick, _, message in events:
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=end - now))
    file = mido.MidiFile(type=0, ticks_per_beat=_TICKS_PER_BEAT)
    file.tracks.append(track)
    file.save(str(path))


def read_midi(path: Path) -> tuple[Part, Part]:
    """Read the drum part (channel 10) and the bass part (programs 32-39) of a MIDI file.

    Only notes, velocities and programs are read: controllers and pitch bends are not. Where several
    kits or bass programs occur, the most frequent one is taken for the whole part.

    Returns:
        Drums, bass. Either may have no notes.

    Raises:
        LqsepError: The file cannot be read as MIDI, does not count time in beats, holds independent
            sequences (type 2) or lasts longer than a day.
    """
    messages = _messages(path)
    now_s = 0.0
    programs = [0] * 16
    sounding: dict[tuple[int, int], tuple[float, int, int]] = {}
    found: dict[bool, list[tuple[Note, int]]] = {True: [], False: []}

    def finish(channel: int, pitch: int) -> None:
        started = sounding.pop((channel, pitch), None)
        if started is None:
            return
        start_s, velocity, program = started
        note = Note(start_s, max(now_s - start_s, 0.01), pitch, velocity)
        found[channel == DRUM_CHANNEL].append((note, program))

    for message in messages:
        now_s += message.time
        if not 0 <= now_s <= _LONGEST_S:
            raise LqsepError(f"{path}: a MIDI file may last a day, this one has {now_s:.3g} s.")
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type in ("note_on", "note_off"):
            finish(message.channel, message.note)
            program = programs[message.channel]
            is_wanted = message.channel == DRUM_CHANNEL or program in BASS_PROGRAMS
            if is_wanted and message.type == "note_on" and message.velocity > 0:
                sounding[message.channel, message.note] = (now_s, message.velocity, program)
    for channel, pitch in list(sounding):
        finish(channel, pitch)
    return _part(found[True], is_drums=True), _part(found[False], is_drums=False)


def _messages(path: Path) -> list[mido.Message]:
    """All messages in order, their times in seconds since the one before."""
    try:
        file = mido.MidiFile(str(path), clip=True)
        if file.type == 2:
            raise ValueError("type 2, independent sequences; expected type 0 or 1")
        # The sign says that frames of film are counted.
        if file.ticks_per_beat <= 0:
            raise ValueError("time in SMPTE frames or no time at all; expected ticks per beat")
        return list(file)
    except Exception as error:  # whatever the parser meets in a damaged file
        reason = first_line(error)
        raise LqsepError(f"{path}: cannot be read as a MIDI file ({reason}).") from error


def _part(found: list[tuple[Note, int]], *, is_drums: bool) -> Part:
    default = 0 if is_drums else BASS_PROGRAMS[1]
    counts = Counter(program for _, program in found)
    program = min(counts, key=lambda key: (-counts[key], key)) if counts else default
    notes = sorted((note for note, _ in found), key=lambda note: (note.start_s, note.pitch))
    return Part(program=program, notes=tuple(notes), is_drums=is_drums)


def _ticks(seconds: float) -> int:
    return round(seconds * _TICKS_PER_SECOND)
