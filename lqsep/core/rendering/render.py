"""Render a data set of drum and bass stems, one folder per track.

::

    OUT/render.json                          arguments, versions, SoundFont
    OUT/<train|validation|test>/<track>/     drums.wav bass.wav track.json

There is no mixture file: a mixture is a weighted sum of the stems. Every track has a seed of its
own, derived from the seed of the data set, its split and its number, so that more tracks can be
added later and an interrupted rendering continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import lqsep
from lqsep.core.errors import AudioError, ConfigError, LqsepError
from lqsep.core.rendering import augment, compose, midi, synth

SPLITS = ("train", "validation", "test")
STEMS = ("drums", "bass")
FORMATS = ("wav", "flac")

# General MIDI drum kits and their variants; from this program on there are sound effects.
_SOUND_EFFECTS_KIT = 56

# A stem below this RMS means a SoundFont without that instrument: rests alone do not get so low.
_SILENCE_RMS = 1e-4
# Compositions start on a first beat; tracks start anywhere in their first seconds.
_LONGEST_LEAD_S = 2.5
# Bumped whenever the same seed no longer gives the same audio.
_RENDER_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """What decides how a track sounds; equal settings and track seeds give equal audio."""

    duration_s: float
    seed: int
    sample_rate: int
    audio_format: str
    n_channels: int
    is_augmented: bool
    held_out_kits: tuple[int, ...]
    held_out_programs: tuple[int, ...]


@dataclass(frozen=True)
class RenderSummary:
    """What ``render_dataset`` did."""

    n_rendered: int
    n_kept: int
    n_seconds: float


@dataclass(frozen=True)
class _Track:
    split: str
    name: str
    seed: int
    midi: Path | None = None


def render_dataset(
    output_dir: Path,
    *,
    n_tracks: Mapping[str, int],
    duration_s: float = 20.0,
    seed: int = 0,
    soundfont: Path | None = None,
    sample_rate: int = 44100,
    audio_format: str = "wav",
    n_channels: int = 2,
    is_augmented: bool = True,
    held_out_kits: Sequence[int] = (),
    held_out_programs: Sequence[int] = (),
    midi_dir: Path | None = None,
    jobs: int = 1,
    on_track: Callable[[int, int], None] | None = None,
) -> RenderSummary:
    """Compose (or read) and render tracks into ``output_dir``.

    Args:
        output_dir: Made if needed; complete tracks found there are kept.
        n_tracks: Number of tracks by split.
        duration_s: Length of every track.
        seed: The same seed and settings give the same files.
        soundfont: A SoundFont 2 file; by default the first one in the usual places.
        sample_rate: Of the files, in Hz.
        audio_format: ``"wav"`` or ``"flac"``, 16 bit.
        n_channels: 1 or 2.
        is_augmented: Whether to equalise, saturate, ... each stem.
        held_out_kits: Drum kits for validation and test only; these splits then use no others.
        held_out_programs: Bass programs, likewise.
        midi_dir: Render the MIDI files under this folder instead of compositions.
        jobs: Number of tracks rendered at the same time.
        on_track: Called with (tracks done, tracks in all).

    Raises:
        ConfigError: An argument has no meaning, or ``output_dir`` was made with other settings.
        LqsepError: FluidSynth or the SoundFont is missing, or rendering fails.
    """
    settings = RenderSettings(
        duration_s=duration_s,
        seed=seed,
        sample_rate=sample_rate,
        audio_format=audio_format,
        n_channels=n_channels,
        is_augmented=is_augmented,
        held_out_kits=tuple(sorted(set(held_out_kits))),
        held_out_programs=tuple(sorted(set(held_out_programs))),
    )
    _check(settings, n_tracks, jobs)
    fluidsynth = synth.fluidsynth_version()
    font = synth.find_soundfont(soundfont)
    kits = _kits(font)
    for split in SPLITS:
        _allowed(split, kits, settings.held_out_kits, "drum kits")
        _allowed(split, compose.BASS_PROGRAMS, settings.held_out_programs, "bass programs")
    if midi_dir is None:
        tracks = list(_composed_tracks(n_tracks, seed))
    else:
        tracks = _midi_tracks(midi_dir, n_tracks, seed)
    output_dir.mkdir(parents=True, exist_ok=True)
    _write_record(output_dir, settings, n_tracks, font, fluidsynth, midi_dir)

    waiting = [
        track for track in tracks if not (_folder(output_dir, track) / "track.json").exists()
    ]
    n_done = len(tracks) - len(waiting)
    if on_track is not None:
        on_track(n_done, len(tracks))
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_render, output_dir, t, settings, font, kits) for t in waiting]
        try:
            for future in futures:
                future.result()
                n_done += 1
                if on_track is not None:
                    on_track(n_done, len(tracks))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return RenderSummary(len(waiting), len(tracks) - len(waiting), len(tracks) * duration_s)


def track_seed(seed: int, split: str, name: str) -> int:
    """Seed of one track, independent of how many others there are."""
    digest = hashlib.sha256(f"{seed}/{split}/{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


def _check(settings: RenderSettings, n_tracks: Mapping[str, int], jobs: int) -> None:
    problems = []
    if unknown := sorted(set(n_tracks) - set(SPLITS)):
        problems.append(f"no split named {unknown[0]!r}; there are {', '.join(SPLITS)}")
    if any(count < 0 for count in n_tracks.values()) or not any(n_tracks.values()):
        problems.append("the numbers of tracks must be 0 or more, one of them at least 1")
    if not 1.0 <= settings.duration_s <= 3600.0:
        problems.append(f"the duration must be 1 to 3600 seconds, got {settings.duration_s:g}")
    if not 8000 <= settings.sample_rate <= 192_000:
        problems.append(f"the sample rate must be 8000 to 192000 Hz, got {settings.sample_rate}")
    if settings.audio_format not in FORMATS:
        problems.append(f"no format {settings.audio_format!r}; there are {', '.join(FORMATS)}")
    if settings.n_channels not in (1, 2):
        problems.append(f"channels must be 1 or 2, got {settings.n_channels}")
    if jobs < 1:
        problems.append(f"jobs must be at least 1, got {jobs}")
    if problems:
        raise ConfigError(f"data render: {'; '.join(problems)}.")


def _kits(soundfont: Path) -> tuple[int, ...]:
    presets = synth.soundfont_presets(soundfont)
    programs = sorted(program for bank, program in presets if bank == synth.DRUM_BANK)
    kits = tuple(program for program in programs if program < _SOUND_EFFECTS_KIT)
    if not kits:
        raise LqsepError(f"{soundfont}: this SoundFont has no General MIDI drum kit (bank 128).")
    return kits


def _allowed(
    split: str, available: Sequence[int], held_out: Sequence[int], what: str
) -> tuple[int, ...]:
    """Held-out values are all that validation and test use, and what train never uses."""
    if missing := [value for value in held_out if value not in available]:
        have = ", ".join(str(value) for value in available)
        raise ConfigError(
            f"data render: cannot hold out {what} {missing}; the SoundFont offers {have}."
        )
    if not held_out:
        return tuple(available)
    is_train = split == "train"
    allowed = tuple(value for value in available if (value in held_out) != is_train)
    if not allowed:
        raise ConfigError(f"data render: holding out all {what} leaves none for train.")
    return allowed


def _composed_tracks(n_tracks: Mapping[str, int], seed: int) -> Iterator[_Track]:
    for split in SPLITS:
        for index in range(n_tracks.get(split, 0)):
            name = f"{index:04d}"
            yield _Track(split, name, track_seed(seed, split, name))


def _midi_tracks(folder: Path, n_tracks: Mapping[str, int], seed: int) -> list[_Track]:
    """MIDI files with drums and bass in an order decided by the seed, dealt out to the splits.

    When there are fewer files than tracks asked for, each split gets its share, rounded down, and
    train gets the rest.
    """
    names = [path for path in folder.rglob("*") if path.suffix.lower() in (".mid", ".midi")]
    files = [path for path in sorted(names) if all(part.notes for part in midi.read_midi(path))]
    if not files:
        raise ConfigError(
            f"{folder}: none of {len(names)} MIDI files has drums (channel 10) and a bass "
            "(programs 33-40 counted from 1)."
        )
    order = {path: track_seed(seed, "midi", path.relative_to(folder).as_posix()) for path in files}
    files.sort(key=lambda path: order[path])
    wanted = {split: n_tracks.get(split, 0) for split in SPLITS}
    total = sum(wanted.values())
    if len(files) < total:
        wanted = {split: count * len(files) // total for split, count in wanted.items()}
        wanted["train"] += len(files) - sum(wanted.values())
    tracks = []
    for split in reversed(SPLITS):
        chosen, files = files[: wanted[split]], files[wanted[split] :]
        for path in chosen:
            # The hash keeps files of one name in several folders apart.
            name = f"{path.stem}-{order[path] & 0xFFFFFF:06x}"
            tracks.append(_Track(split, name, order[path], path))
    return tracks


def _write_record(
    output_dir: Path,
    settings: RenderSettings,
    n_tracks: Mapping[str, int],
    soundfont: Path,
    fluidsynth: str,
    midi_dir: Path | None,
) -> None:
    """Write ``render.json``, after comparing it with the one there."""
    record: dict[str, Any] = {
        "render_version": _RENDER_VERSION,
        "settings": json.loads(json.dumps(asdict(settings))),
        "soundfont": {"name": soundfont.name, "sha256": synth.sha256_of(soundfont)},
        "source": "compositions" if midi_dir is None else "midi files",
        "n_tracks": {split: n_tracks.get(split, 0) for split in SPLITS},
        "versions": {"lqsep": lqsep.__version__, "fluidsynth": fluidsynth, "numpy": np.__version__},
    }
    path = output_dir / "render.json"
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{path}: not a JSON file ({error}).") from error
        differences = [
            f"{key} = {_at(before, key)!r}, now {_at(record, key)!r}"
            for key in _compared(record)
            if _at(before, key) != _at(record, key)
        ]
        if differences:
            raise ConfigError(
                f"{path}: this folder was rendered with {'; '.join(differences)}. Use the same "
                "arguments to add tracks, or another folder."
            )
    _write_json(path, record)


def _compared(record: Mapping[str, Any]) -> list[str]:
    """Dotted names of what must not change between two renderings into one folder."""
    settings = [f"settings.{name}" for name in record["settings"]]
    return ["render_version", "source", "soundfont.sha256", *settings]


def _at(record: Any, key: str) -> Any:
    for name in key.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _folder(output_dir: Path, track: _Track) -> Path:
    return output_dir / track.split / track.name


def _render(
    output_dir: Path, track: _Track, settings: RenderSettings, soundfont: Path, kits: Sequence[int]
) -> None:
    """Render one track in a temporary folder, and rename it when it is complete."""
    rng = random.Random(track.seed)
    facts: dict[str, Any] = {"seed": track.seed}
    if track.midi is None:
        lead_s = rng.uniform(0.0, _LONGEST_LEAD_S)
        piece = compose.compose(
            track.seed,
            settings.duration_s + lead_s,
            kits=_allowed(track.split, kits, settings.held_out_kits, "drum kits"),
            programs=_allowed(
                track.split, compose.BASS_PROGRAMS, settings.held_out_programs, "bass programs"
            ),
        )
        parts = (piece.drums, piece.bass)
        facts |= {
            "genre": piece.genre,
            "tempo": piece.tempo,
            "swing": piece.swing,
            "key": piece.key,
        }
    else:
        parts, lead_s = _excerpt(midi.read_midi(track.midi), settings.duration_s, rng), 0.0
        facts |= {"midi": track.midi.name}
    folder = _folder(output_dir, track)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{track.name}-", dir=folder.parent) as scratch:
        complete = Path(scratch) / "track"
        complete.mkdir()
        for stem, part in zip(STEMS, parts, strict=True):
            facts[stem] = _render_stem(
                Path(scratch), complete, track, stem, part, lead_s, settings, soundfont, rng
            )
        _write_json(complete / "track.json", facts)
        if folder.exists():  # without track.json: left over from something else
            shutil.rmtree(folder)
        os.replace(complete, folder)


def _render_stem(
    scratch: Path,
    complete: Path,
    track: _Track,
    stem: str,
    part: compose.Part,
    lead_s: float,
    settings: RenderSettings,
    soundfont: Path,
    rng: random.Random,
) -> dict[str, Any]:
    """Render one stem into ``complete``; returns what goes into ``track.json``."""
    effects = synth.SynthSettings()
    changes = augment.Augmentation()
    if settings.is_augmented:
        effects = synth.SynthSettings(
            has_reverb=rng.random() < 0.3,
            room_size=round(rng.uniform(0.1, 0.7), 3),
            reverb_level=round(rng.uniform(0.1, 0.5), 3),
            has_chorus=rng.random() < 0.15,
        )
        changes = augment.draw_augmentation(rng.getrandbits(48), stem)
    path = scratch / f"{stem}.mid"
    midi.write_midi(path, part, lead_s + settings.duration_s)
    n_lead = round(lead_s * synth.SYNTH_SAMPLE_RATE)
    n_samples = round(settings.duration_s * synth.SYNTH_SAMPLE_RATE)
    wave = synth.synthesise(path, soundfont, n_lead + n_samples, effects)[:, n_lead:]
    if float(np.sqrt(np.mean(wave**2))) < _SILENCE_RMS:
        raise LqsepError(
            f"data render: {stem} of {track.split}/{track.name} is silent (program {part.program})."
            " Use a SoundFont with the General MIDI drum kits and basses."
        )
    if settings.is_augmented:
        wave = augment.apply_augmentation(wave, synth.SYNTH_SAMPLE_RATE, changes)
    if settings.n_channels == 1:
        wave = wave.mean(axis=0, keepdims=True)
    wave = synth.resample(wave, synth.SYNTH_SAMPLE_RATE, settings.sample_rate)
    wave = augment.normalise(wave, changes.level_db)
    target = complete / f"{stem}.{settings.audio_format}"
    try:
        soundfile.write(target, wave.T, settings.sample_rate, subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{target}: cannot be written ({error}).") from error
    return {
        "program": part.program,
        "detune": part.detune,
        "n_notes": len(part.notes),
        "synth": asdict(effects) if settings.is_augmented else None,
        "augmentation": changes.as_dict() if settings.is_augmented else None,
    }


def _excerpt(
    parts: tuple[compose.Part, compose.Part], duration_s: float, rng: random.Random
) -> tuple[compose.Part, compose.Part]:
    """A stretch of a longer piece, among those in which the sparser part plays most."""
    end_s = max(note.start_s for part in parts for note in part.notes)
    starts = [float(start) for start in range(max(1, int(end_s - duration_s) + 1))]

    def n_notes(start_s: float) -> int:
        return min(
            sum(start_s <= note.start_s < start_s + duration_s for note in part.notes)
            for part in parts
        )

    ranked = sorted(starts, key=lambda start_s: (-n_notes(start_s), start_s))
    start_s = rng.choice(ranked[: max(1, len(ranked) // 4)])
    drums, bass = (
        replace(
            part,
            notes=tuple(
                replace(note, start_s=note.start_s - start_s)
                for note in part.notes
                if note.start_s >= start_s
            ),
        )
        for part in parts
    )
    return drums, bass


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
