"""Sounds and spectrograms of an example, as data that stands in a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from lqsep.core.audio.files import audio_info, read_audio, write_audio
from lqsep.core.errors import AudioError
from lqsep.core.evaluation.evaluate import Media
from lqsep.core.files.staging import temporary
from lqsep.core.plotting.spectrograms import plot_spectrograms

# Of an excerpt at most; and of all excerpts of a page together, as 16-bit samples before coding.
MAX_SECONDS = 12.0
MAX_BYTES = 24_000_000


@dataclass(frozen=True)
class Example:
    """Sound files of one item, equally long and of the same rate.

    Args:
        name: The item's.
        mixture: The file.
        estimates: The pipeline's own stem, by source.
        references: The true stem, by source.
    """

    name: str
    mixture: Path
    estimates: Mapping[str, Path]
    references: Mapping[str, Path]

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [self.mixture, *self.estimates.values(), *self.references.values()]

    @classmethod
    def find(cls, folder: Path, sources: Sequence[str]) -> Example | None:
        """What `save_example` wrote; None where a file is missing."""
        found = cls._in(folder, sources)
        return found if all(path.is_file() for path in found.files) else None

    @classmethod
    def _in(cls, folder: Path, sources: Sequence[str]) -> Example:
        return cls(
            name=folder.name,
            mixture=folder / "mixture.flac",
            estimates={source: folder / f"{source}.flac" for source in sources},
            references={source: folder / f"{source}.reference.flac" for source in sources},
        )


def save_example(media: Media, folder: Path) -> Example:
    """Write an item's sounds into a folder of its own, the middle of them where they are long.

    Raises:
        AudioError: A file cannot be written.
    """
    example = Example._in(folder, list(media["references"]))
    waves = [media["mixture"], *media["estimates"].values(), *media["references"].values()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(f"cannot write {folder}: {error.strerror or error}") from error
    rate = media["sample_rate"]
    for path, wave in zip(example.files, waves, strict=True):
        write_audio(path, _middle(wave, round(MAX_SECONDS * rate)), rate)
    return example


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
    wave, sample_rate = read_audio(path)
    return _middle(wave, max(1, round(seconds * sample_rate))), sample_rate


def sound_data(wave: npt.NDArray[np.float32], sample_rate: int) -> str:
    """A ``data:`` address of the wave as 16-bit FLAC, which loses no more than rounding."""
    buffer = io.BytesIO()
    # Values beyond full scale would wrap around.
    soundfile.write(buffer, np.clip(wave.T, -1, 1), sample_rate, "PCM_16", format="FLAC")
    return _data("audio/flac", buffer.getvalue())


def excerpt_data(path: Path, seconds: float) -> str:
    """`sound_data` of the middle of a file.

    Raises:
        AudioError: The file cannot be read.
    """
    return sound_data(*read_excerpt(path, seconds))


def spectrogram_data(example: Example, seconds: float) -> str:
    """A ``data:`` address of a PNG: the mixture, and each stem beside its reference.

    Raises:
        AudioError: A file cannot be read.
        ConfigError: matplotlib is not installed.
    """
    mixture, sample_rate = read_excerpt(example.mixture, seconds)
    with temporary() as staging:
        path = plot_spectrograms(
            mixture,
            _read_all(example.estimates, seconds),
            sample_rate,
            staging.folder / "spectrograms.png",
            _read_all(example.references, seconds),
        )
        return _data("image/png", path.read_bytes())


def _read_all(paths: Mapping[str, Path], seconds: float) -> dict[str, npt.NDArray[np.float32]]:
    return {source: read_excerpt(path, seconds)[0] for source, path in paths.items()}


def _middle(wave: npt.NDArray[np.float32], n_samples: int) -> npt.NDArray[np.float32]:
    start = max(0, (wave.shape[1] - n_samples) // 2)
    return wave[:, start : start + n_samples]


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
