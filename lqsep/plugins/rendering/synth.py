"""MIDI files to waves, with the ``fluidsynth`` program; and what a SoundFont contains."""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from lqsep.core.errors import AudioError, LqsepError

SYNTH_SAMPLE_RATE = 44100
"""FluidSynth always runs at this rate: it resamples its samples without an anti-aliasing filter, so
that a lower rate would alias. ``resample`` comes after it."""

DRUM_BANK = 128

_STANDARD_SOUNDFONTS = tuple(
    Path(folder) / name
    for folder in ("/usr/share/sounds/sf2", "/usr/share/soundfonts", "/usr/local/share/soundfonts")
    for name in ("FluidR3_GM.sf2", "default.sf2", "default-GM.sf2", "TimGM6mb.sf2")
)
_INSTALL = (
    "Install the Debian packages 'fluidsynth' and 'fluid-soundfont-gm' (or their equivalents)"
)
# One record of a SoundFont's preset list: name, preset, bank, and four numbers not used here.
_PRESET_RECORD = struct.Struct("<20sHHHIII")
# Samples by which its output may end early: notes of the last tenth of a second.
_SHORT = SYNTH_SAMPLE_RATE // 10
# Fraction of the new band over which `resample` fades out, against ringing.
_FADE_FRACTION = 0.06


@dataclass(frozen=True, kw_only=True)
class SynthSettings:
    """FluidSynth's own effects."""

    gain: float = 0.5
    has_reverb: bool = False
    room_size: float = 0.2
    reverb_level: float = 0.3
    has_chorus: bool = False


def find_soundfont(path: Path | None = None) -> Path:
    """The given SoundFont, or the first one in the usual places.

    Raises:
        LqsepError: There is none; the message names the packages to install.
    """
    candidates = (path,) if path is not None else _STANDARD_SOUNDFONTS
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates)
    raise LqsepError(
        f"data render: no SoundFont found; looked for {looked}. {_INSTALL}, or give --soundfont."
    )


def find_fluidsynth() -> str:
    """Path of the ``fluidsynth`` program.

    Raises:
        LqsepError: It is not installed; the message names the packages to install.
    """
    program = shutil.which("fluidsynth")
    if program is None:
        raise LqsepError(f"data render: the program 'fluidsynth' was not found. {_INSTALL}.")
    return program


def fluidsynth_version() -> str:
    """The version line that ``fluidsynth`` prints."""
    done = subprocess.run(
        [find_fluidsynth(), "--version"], capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if "version" in line.lower()]
    return lines[0].rsplit(" ", 1)[-1] if lines else "unknown"


def soundfont_presets(path: Path) -> frozenset[tuple[int, int]]:
    """The (bank, program) pairs of a SoundFont; drum kits are in bank ``DRUM_BANK``.

    Raises:
        LqsepError: The file is not a SoundFont 2 file.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"sfbk":
            raise LqsepError(f"{path}: not a SoundFont 2 file.")
        while chunk := file.read(8):
            name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
            if name == b"LIST" and file.read(4) == b"pdta":
                continue  # step into the list: its first chunk is the preset list
            if name == b"phdr":
                records = list(_PRESET_RECORD.iter_unpack(file.read(size)))
                return frozenset((bank, preset) for _, preset, bank, *_ in records[:-1])
            file.seek(size - (4 if name == b"LIST" else 0) + size % 2, 1)
    raise LqsepError(f"{path}: this SoundFont has no list of presets.")


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def synthesise(
    midi: Path, soundfont: Path, n_samples: int, settings: SynthSettings
) -> npt.NDArray[np.float64]:
    """Render a MIDI file at ``SYNTH_SAMPLE_RATE``.

    Returns:
        Wave of shape ``2 n_samples``: what FluidSynth plays is longer, and cut.

    Raises:
        LqsepError: FluidSynth is missing or fails.
        AudioError: Its output is not readable, or too short.
    """
    output = midi.with_suffix(".wav")
    switch = {True: "1", False: "0"}
    command = [find_fluidsynth(), "-ni", "-q", "-g", f"{settings.gain:.4f}"]
    command += ["-r", str(SYNTH_SAMPLE_RATE), "-O", "float", "-T", "wav"]
    command += ["-R", switch[settings.has_reverb], "-C", switch[settings.has_chorus]]
    command += ["-o", f"synth.reverb.room-size={settings.room_size:.4f}"]
    command += ["-o", f"synth.reverb.level={settings.reverb_level:.4f}"]
    # Load only the samples played: FluidR3 has 140 MB of them.
    command += ["-o", "synth.dynamic-sample-loading=1", "-o", "synth.lock-memory=0"]
    command += ["-F", str(output), str(soundfont), str(midi)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not output.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise LqsepError(
            f"data render: fluidsynth ended with status {done.returncode} on {midi.name}: "
            f"{lines[-1]}"
        )
    try:
        wave, _ = soundfile.read(output, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{output}: fluidsynth's output is not readable ({error}).") from error
    output.unlink()
    if len(wave) < n_samples - _SHORT:
        # Where its file does not fit on the disk, FluidSynth says so and ends with status 0.
        lines = done.stderr.strip().splitlines() or ["is the disk full?"]
        raise AudioError(
            f"fluidsynth wrote {len(wave) / SYNTH_SAMPLE_RATE:.2f} of "
            f"{n_samples / SYNTH_SAMPLE_RATE:.2f} s to {output.parent}: {lines[-1]}"
        )
    fitted = np.zeros((2, n_samples))
    length = min(n_samples, len(wave))
    fitted[:, :length] = wave[:length].T
    return fitted


def resample(
    wave: npt.NDArray[np.float64], sample_rate: int, new_sample_rate: int
) -> npt.NDArray[np.float64]:
    """Resample along the last axis by cutting or extending the spectrum (no aliasing).

    Returns:
        Wave of ``ceil(n_samples * new_sample_rate / sample_rate)`` samples.
    """
    if sample_rate == new_sample_rate:
        return wave
    n_samples = wave.shape[-1]
    divisor = int(np.gcd(sample_rate, new_sample_rate))
    up, down = new_sample_rate // divisor, sample_rate // divisor
    n_blocks = -(-n_samples // down)
    spectrum = np.fft.rfft(wave, n_blocks * down, axis=-1)
    n_new = n_blocks * up
    n_bins = min(spectrum.shape[-1], n_new // 2 + 1)
    spectrum = spectrum[..., :n_bins].copy()
    if new_sample_rate < sample_rate:
        n_fade = max(1, int(_FADE_FRACTION * n_bins))
        spectrum[..., n_bins - n_fade :] *= 0.5 + 0.5 * np.cos(
            np.pi * np.arange(1, n_fade + 1) / n_fade
        )
    resampled = np.fft.irfft(spectrum, n_new, axis=-1) * (up / down)
    return resampled[..., : -(-n_samples * up // down)]
