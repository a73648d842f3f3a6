"""What each format can hold: sample types, channels, rates, and how long a file may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lqsep.core.errors import AudioError


@dataclass(frozen=True)
class WritableFormat:
    """One format.

    Args:
        subtypes: As soundfile names them; lossy formats have one.
        max_channels: libsndfile says "format not recognised" beyond, or worse.
        takes_rate: Whether it holds a sample rate; libvorbis does not refuse what it cannot do.
        rates: The same in words.
    """

    subtypes: tuple[str, ...]
    max_channels: int
    takes_rate: Callable[[int], bool]
    rates: str


_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

_FORMATS = {
    "wav": WritableFormat(("PCM_16", "PCM_24", "FLOAT"), 1024, lambda rate: True, "any"),
    "flac": WritableFormat(
        ("PCM_16", "PCM_24"), 8, lambda rate: rate <= 655_350, "up to 655350 Hz"
    ),
    "ogg": WritableFormat(("VORBIS",), 255, lambda rate: rate <= 200_000, "up to 200000 Hz"),
    "mp3": WritableFormat(
        ("MPEG_LAYER_III",),
        2,
        lambda rate: rate in _MP3_RATES,
        f"{', '.join(map(str, _MP3_RATES))} Hz",
    ),
}

WRITABLE_FORMATS = tuple(_FORMATS)

# A wav file counts its bytes in 32 bits; the rest is room for its header.
_MAX_WAV_BYTES = (1 << 32) - (1 << 12)

_SAMPLE_BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}


def resolve_format(
    path: Path, format: str | None, subtype: str, channels: int, sample_rate: int
) -> tuple[str, str]:
    """Format and subtype of a file; ``PCM_16``, the default, stands for a lossy format's own.

    Raises:
        AudioError: The format is not known, or cannot hold this.
    """
    name = (format or path.suffix.removeprefix(".")).lower()
    if name not in _FORMATS:
        raise AudioError(
            f"cannot write {path}: expected a format among {', '.join(WRITABLE_FORMATS)}, "
            f"got {name!r}."
        )
    known = _FORMATS[name]
    if channels > known.max_channels:
        raise AudioError(
            f"cannot write {path}: {name} holds up to {known.max_channels} channels, not "
            f"{channels}; use wav."
        )
    if not known.takes_rate(sample_rate):
        raise AudioError(
            f"cannot write {path}: {name} holds sample rates of {known.rates}, not {sample_rate} "
            "Hz; use wav."
        )
    if subtype in known.subtypes:
        return name, subtype
    if subtype == "PCM_16":
        return name, known.subtypes[0]
    raise AudioError(
        f"cannot write {path}: {name} holds {', '.join(known.subtypes)}, not {subtype}; use wav or "
        "flac."
    )


def container_of(format: str, subtype: str, channels: int, n_samples: int | None) -> str:
    """What libsndfile is asked for: RF64 in place of a wav file that would be too long."""
    if format == "wav" and n_samples is not None and overflows(subtype, channels, n_samples):
        return "RF64"
    return format.upper()


def overflows(subtype: str, channels: int, n_samples: int) -> bool:
    """Whether so many samples are more than the sizes in a wav file can tell: 4 GiB."""
    return n_samples * channels * _SAMPLE_BYTES[subtype] > _MAX_WAV_BYTES
