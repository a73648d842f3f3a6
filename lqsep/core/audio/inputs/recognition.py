"""Which files of a folder are audio: by their ending, or by what is in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lqsep.core.audio.decoding.content import Kind, kind_of
from lqsep.core.audio.decoding.recipes import INSTALL, has_ffmpeg
from lqsep.core.audio.reading import READABLE_EXTENSIONS

# A file with one of these endings is meant to be sound: where it cannot be read, that is worth a
# word. Those of films are not among them, as they need not have any.
_SOUND_ENDINGS = frozenset(
    f".{ending}"
    for ending in (
        *READABLE_EXTENSIONS, "wave", "bwf", "rf64", "aifc", "oga", "snd", "mp2", "mpga", "spx",
        "m4a", "m4b", "aac", "wma", "mka", "wv", "ape", "tta", "ac3", "dts", "amr",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Recognition:
    """What a file of a folder is.

    Args:
        is_audio: Whether it is to be read.
        left_out: Why not, though it is sound; empty where it is none.
    """

    is_audio: bool
    left_out: str = ""


def recognize(path: Path) -> Recognition:
    """Whether a file of a folder is audio. Files of unknown endings are opened for it.

    A file with the ending of sound is audio whatever is in it, so that a damaged one is not left
    out in silence. What is no regular file is never opened: a named pipe would wait for a writer.
    """
    has_ending = path.suffix.lower() in _SOUND_ENDINGS
    if os.path.exists(path) and not os.path.isfile(path):
        return Recognition(False, "not a regular file" if has_ending else "")
    try:
        kind = kind_of(path)
    except OSError:  # the reader will say why
        return Recognition(has_ending)
    if kind is Kind.FOREIGN and not has_ffmpeg():
        return Recognition(False, f"libsndfile does not read such files; {INSTALL}")
    return Recognition(has_ending or kind is not Kind.UNKNOWN)
