"""Sounds and spectrograms of an example, as data that stands in a page."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from lqsep.core.audio import audio_info, read_audio
from lqsep.core.plotting import plot_spectrograms

# Of an excerpt at most; and of all excerpts of a page together, as 16-bit samples before coding.
MAX_SECONDS = 12.0
MAX_BYTES = 24_000_000


@dataclass(frozen=True)
class Example:
    """Sound files of one item, equally long and of the same rate.

    Args:
        name: The item's.
        mixture: The file.
        references: True source by name.
        estimates: By name of the estimate, then by source. The first is drawn.
    """

    name: str
    mixture: Path
    references: Mapping[str, Path]
    estimates: Mapping[str, Mapping[str, Path]]

    @property
    def files(self) -> list[Path]:
        """All of them."""
        stems = [path for stems in self.estimates.values() for path in stems.values()]
        return [self.mixture, *self.references.values(), *stems]


def excerpt_seconds(examples: Sequence[Example]) -> float:
    """Length of the excerpts by which all examples of a page stay within their room."""
    infos = [audio_info(path) for example in examples for path in example.files]
    bytes_per_second = sum(2 * info.channels * info.sample_rate for info in infos)
    return min(MAX_SECONDS, MAX_BYTES / bytes_per_second) if infos else MAX_SECONDS


def read_excerpt(path: Path, seconds: float) -> tuple[npt.NDArray[np.float32], int]:
    """The middle of a file, ``channels samples``, and its rate in Hz.

    Raises:
        AudioError: The file cannot be read.
    """
    info = audio_info(path)
    frames = min(info.n_samples, max(1, round(seconds * info.sample_rate)))
    return read_audio(path, (info.n_samples - frames) // 2, frames)


def sound_data(wave: npt.NDArray[np.float32], sample_rate: int) -> str:
    """A ``data:`` address of the wave as 16-bit FLAC, which loses no more than rounding."""
    buffer = io.BytesIO()
    # Values beyond full scale would wrap around.
    soundfile.write(buffer, np.clip(wave.T, -1, 1), sample_rate, "PCM_16", format="FLAC")
    return _data("audio/flac", buffer.getvalue())


def spectrogram_data(example: Example, seconds: float) -> str:
    """A ``data:`` address of a PNG: the mixture, and each stem beside its reference.

    Raises:
        AudioError: A file cannot be read.
        ConfigError: matplotlib is not installed.
    """
    mixture, sample_rate = read_excerpt(example.mixture, seconds)
    stems = next(iter(example.estimates.values()))
    with tempfile.TemporaryDirectory() as folder:
        path = plot_spectrograms(
            mixture,
            {source: read_excerpt(path, seconds)[0] for source, path in stems.items()},
            sample_rate,
            Path(folder) / "spectrograms.png",
            {source: read_excerpt(path, seconds)[0] for source, path in example.references.items()},
        )
        return _data("image/png", path.read_bytes())


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
