"""Render a data set of drum and bass stems, one folder per track.

::

    OUT/render.json                          arguments, versions, SoundFonts
    OUT/<train|validation|test>/<track>/     drums.wav bass.wav track.json

There is no mixture file: a mixture is a weighted sum of the stems. Every track has a seed of its
own, derived from the seed of the data set, its split and its number, so that more tracks can be
added later and an interrupted rendering continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import lqsep
from lqsep.core.errors import AudioError, ConfigError, LqsepError
from lqsep.core.files.new_file import write_text
from lqsep.core.files.staging import Staging
from lqsep.core.jobs.threads import in_threads
from lqsep.core.training.seeds import spawn_seed
from lqsep.plugins.rendering import augment, compose, midi, synth
from lqsep.plugins.rendering.instruments import HeldOut, Instruments, choice_for, find_instruments
from lqsep.plugins.rendering.stems import StemPlan, plan_stem, synthesise_stem

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
STEMS = ("drums", "bass")
FORMATS = ("wav", "flac")

# Compositions start on a first beat; tracks start anywhere in their first seconds.
_LONGEST_LEAD_S = 2.5
# Bumped whenever the same seed no longer gives the same audio.
_RENDER_VERSION = 3


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """What decides how a track sounds; equal settings and track seeds give equal audio."""

    duration_s: float
    seed: int
    sample_rate: int
    audio_format: str
    n_channels: int
    is_augmented: bool
    modelled: float
    held_out: HeldOut


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
    soundfonts: Sequence[Path] = (),
    sample_rate: int = 44100,
    audio_format: str = "wav",
    n_channels: int = 2,
    is_augmented: bool = True,
    modelled: float = 0.0,
    held_out: HeldOut | None = None,
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
        soundfonts: SoundFont 2 files, drawn from for every stem; by default the first one in the
            usual places.
        sample_rate: Of the files, in Hz.
        audio_format: ``"wav"`` or ``"flac"``, 16 bit.
        n_channels: 1 or 2.
        is_augmented: Whether to equalise, saturate, ... each stem, and to mix drum kits.
        modelled: The share of training stems with computed instruments instead of a SoundFont's.
        held_out: What is for validation and test only; these splits then use nothing else of its
            kind. Of the drum kits, also their variants.
        midi_dir: Render the MIDI files under this folder instead of compositions.
        jobs: Number of tracks rendered at the same time.
        on_track: Called with (tracks done, tracks in all).

    Raises:
        ConfigError: An argument has no meaning, something is to be held out of MIDI files, or
            ``output_dir`` was made with other settings, or a track's folder holds something else.
        LqsepError: FluidSynth or the SoundFont is missing, or rendering fails.
    """
    settings = RenderSettings(
        duration_s=duration_s,
        seed=seed,
        sample_rate=sample_rate,
        audio_format=audio_format,
        n_channels=n_channels,
        is_augmented=is_augmented,
        modelled=modelled,
        held_out=held_out or HeldOut(),
    )
    _check(settings, n_tracks, jobs)
    if midi_dir is not None and settings.held_out != HeldOut():
        raise ConfigError(
            "data render: MIDI files say themselves what plays; kits, programs and genres can be "
            "held out of compositions only. Leave out --midi, or the --hold-out options."
        )
    fluidsynth = synth.fluidsynth_version()
    hashes = _hashes(soundfonts)
    instruments = find_instruments(hashes)
    for split in SPLITS:
        choice_for(split, instruments, settings.held_out)
    if midi_dir is None:
        tracks = list(_composed_tracks(n_tracks, seed))
    else:
        tracks = _midi_tracks(midi_dir, n_tracks, seed)
    waiting = [
        track for track in tracks if not (_folder(output_dir, track) / "track.json").exists()
    ]
    _refuse_others([_folder(output_dir, track) for track in waiting])
    _write_record(output_dir, settings, n_tracks, hashes, fluidsynth, midi_dir)

    n_done = len(tracks) - len(waiting)
    if on_track is not None:
        on_track(n_done, len(tracks))

    def render(track: _Track) -> None:
        _render(output_dir, track, settings, instruments)

    for _ in in_threads(render, waiting, jobs):
        n_done += 1
        if on_track is not None:
            on_track(n_done, len(tracks))
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
    if not 0 <= settings.modelled <= 1:
        problems.append(f"the share of modelled stems must be 0 to 1, got {settings.modelled:g}")
    if jobs < 1:
        problems.append(f"jobs must be at least 1, got {jobs}")
    if problems:
        raise ConfigError(f"data render: {'; '.join(problems)}.")


def _hashes(soundfonts: Sequence[Path]) -> dict[Path, str]:
    """SHA-256 by SoundFont, in an order that does not depend on the order of the arguments."""
    paths = [synth.find_soundfont(path) for path in soundfonts] or [synth.find_soundfont()]
    by_hash = {synth.sha256_of(path): path for path in paths}
    return {path: digest for digest, path in sorted(by_hash.items())}


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
    files = [path for path in sorted(names) if _has_both_parts(path)]
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


def _refuse_others(folders: Sequence[Path]) -> None:
    """Refuse folders of tracks to come that hold what was not rendered here: it is never removed.

    Raises:
        ConfigError: Names them.
    """
    others = [str(folder) for folder in folders if folder.is_dir() and any(folder.iterdir())]
    if others:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if others[3:] else "")
        raise ConfigError(
            f"data render: {shown} would be the folder of a track, but holds files that were not "
            "rendered here (there is no track.json). They are left as they are: choose another "
            "folder with --output, or remove them"
        )


def _has_both_parts(path: Path) -> bool:
    """Whether there is something to render; a file that cannot be read is told and left out."""
    try:
        return all(part.notes for part in midi.read_midi(path))
    except LqsepError as error:
        logger.warning("left out: %s", error)
        return False


def _write_record(
    output_dir: Path,
    settings: RenderSettings,
    n_tracks: Mapping[str, int],
    soundfonts: Mapping[Path, str],
    fluidsynth: str,
    midi_dir: Path | None,
) -> None:
    """Write ``render.json``, after comparing it with the one there."""
    record: dict[str, Any] = {
        "render_version": _RENDER_VERSION,
        "settings": json.loads(json.dumps(asdict(settings))),
        "soundfonts": {digest: path.name for path, digest in soundfonts.items()},
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
    return ["render_version", "source", "soundfonts", *settings]


def _at(record: Any, key: str) -> Any:
    for name in key.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _folder(output_dir: Path, track: _Track) -> Path:
    return output_dir / track.split / track.name


def _render(
    output_dir: Path, track: _Track, settings: RenderSettings, instruments: Instruments
) -> None:
    """Render one track in a temporary folder, and rename it when it is complete."""
    # Apart from what the composition draws, which begins with the track's seed itself.
    rng = random.Random(spawn_seed(track.seed, "sound"))
    facts: dict[str, Any] = {"seed": track.seed}
    choice = choice_for(track.split, instruments, settings.held_out)
    if track.midi is None:
        lead_s = rng.uniform(0.0, _LONGEST_LEAD_S)
        piece = compose.compose(
            track.seed,
            settings.duration_s + lead_s,
            kits=choice.kits,
            programs=choice.programs,
            genres=choice.genres,
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
    with Staging(folder.parent) as staging:
        complete = staging.folder / "track"
        complete.mkdir()
        for stem, part in zip(STEMS, parts, strict=True):
            plan = plan_stem(
                part,
                instruments,
                choice,
                rng,
                modelled=settings.modelled if track.split == "train" else 0.0,
                is_augmented=settings.is_augmented,
            )
            try:
                wave = synthesise_stem(
                    plan, lead_s, settings.duration_s, staging.folder, settings.n_channels
                )
            except LqsepError as error:
                where = f"{stem} of {track.split}/{track.name}"
                raise type(error)(f"data render: {where}: {error}") from error
            _write_stem(complete / f"{stem}.{settings.audio_format}", wave, plan, settings)
            facts[stem] = {"program": part.program, "n_notes": len(part.notes), **plan.as_dict()}
        _write_json(complete / "track.json", facts)
        os.replace(complete, folder)  # onto nothing, or an empty folder


def _write_stem(path: Path, wave: augment.Wave, plan: StemPlan, settings: RenderSettings) -> None:
    wave = synth.resample(wave, synth.SYNTH_SAMPLE_RATE, settings.sample_rate)
    wave = augment.normalise(wave, plan.augmentation.level_db)
    try:
        soundfile.write(path, wave.T, settings.sample_rate, subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: cannot be written ({error}).") from error


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
    write_text(path, json.dumps(value, indent=1) + "\n")
