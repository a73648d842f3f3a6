"""Audio files: read a part or all of them, write them whole or not at all.

Waves are float32 arrays ``channels samples`` with full scale 1. Reading refuses what would
otherwise go wrong in silence: files cut short, values that are not finite, files without samples.
Writing goes to a temporary name in the same folder and is renamed at the end, so that no
half-written file is ever seen under its own name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.reading import READABLE_EXTENSIONS, AudioInfo, AudioReader
from lqsep.core.audio.writable import WRITABLE_FORMATS
from lqsep.core.audio.writing import CLIP_MODES, AudioWriter, ClipMode, as_array

__all__ = [
    "CLIP_MODES",
    "READABLE_EXTENSIONS",
    "WRITABLE_FORMATS",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "ClipMode",
    "audio_info",
    "read_audio",
    "write_audio",
]


def audio_info(path: str | Path) -> AudioInfo:
    """Rate, channels and length of a file.

    Raises:
        AudioError: Missing, not an audio file, cut short, or without samples.
    """
    with AudioReader(path) as reader:
        return reader.info


def read_audio(
    path: str | Path, start: int = 0, frames: int | None = None
) -> tuple[Float[np.ndarray, "channels samples"], int]:
    """Samples ``start`` to ``start + frames`` (default: to the end) and the sample rate.

    A part that reaches beyond the end stops there.

    Raises:
        AudioError: As `AudioReader`; or ``start`` lies behind the end.
    """
    with AudioReader(path) as reader:
        n_samples = reader.info.n_samples
        stop = n_samples if frames is None else min(n_samples, start + frames)
        return reader.read(start, stop), reader.info.sample_rate


def write_audio(
    path: str | Path,
    wave: Float[np.ndarray, "channels samples"] | Float[np.ndarray, " samples"] | Tensor,
    sample_rate: int,
    *,
    format: str | None = None,
    subtype: str = "PCM_16",
    clip_mode: ClipMode = "none",
) -> AudioWriter:
    """Write a wave in one go; arguments as `AudioWriter`.

    Returns:
        The finished writer, for its ``peak``, ``n_clipped`` and ``scale``.

    Raises:
        AudioError: As `AudioWriter`; a value is not finite; there are no samples.
    """
    block = as_array(wave)
    with AudioWriter(
        path,
        sample_rate,
        block.shape[0],
        format=format,
        subtype=subtype,
        clip_mode=clip_mode,
        n_samples=block.shape[1],
    ) as writer:
        writer.write(block)
    return writer
