"""What is made of a track while it is separated: files that get their names together."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqsep.cli.separate.outputs import MIXTURE, RESIDUAL, OutputSettings
from lqsep.core.errors import AudioError

if TYPE_CHECKING:
    from lqsep.core.audio.files import AudioWriter
    from lqsep.core.audio.mixtures import MixtureReader
    from lqsep.core.separation.run import StemBlock


class TrackPart:
    """One thing made of a track; does nothing by itself."""

    @property
    def peak(self) -> float:
        """Largest absolute value of its audio files so far."""
        return 0.0

    def warnings(self) -> list[str]:
        """What a user should know of it."""
        return []

    def push(self, block: StemBlock) -> None:
        """Take the next stretch."""

    def finish(self) -> None:
        """All stretches have come: do what is left to be computed."""

    def commit(self, peak: float) -> None:
        """Give the files their names; ``peak`` is that of all audio files of the track."""

    def discard(self) -> None:
        """Remove what was written so far."""


class AudioFiles(TrackPart):
    """Audio files that are written block by block.

    Args:
        paths: By name; folders are made.
        reader: Its rate and channels are theirs.
        output: Format and clip mode.

    Raises:
        AudioError: A file cannot be written; nothing is left behind.
    """

    def __init__(
        self, paths: Mapping[str, Path], reader: MixtureReader, output: OutputSettings
    ) -> None:
        self.writers: dict[str, AudioWriter] = {}
        try:
            for name, path in paths.items():
                self.writers[name] = _open_writer(path, reader, output)
        except BaseException:
            self.discard()
            raise

    @property
    def peak(self) -> float:
        return max(writer.peak for writer in self.writers.values())

    @property
    def scale(self) -> float:
        """Factor that ``--clip-mode rescale`` applied on `commit`; 1 = none."""
        return min(writer.scale for writer in self.writers.values())

    def commit(self, peak: float) -> None:
        for writer in self.writers.values():
            writer.commit(peak)

    def discard(self) -> None:
        for writer in self.writers.values():
            writer.discard()


class StemFiles(AudioFiles):
    """The stems, and the residual and the mixture where they are asked for."""

    def __init__(
        self,
        paths: Mapping[str, Path],
        reader: MixtureReader,
        output: OutputSettings,
        sources: tuple[str, ...],
    ) -> None:
        self._sources = sources
        super().__init__(paths, reader, output)

    def push(self, block: StemBlock) -> None:
        waves = dict(zip(self._sources, block.stems, strict=True))
        waves[RESIDUAL] = block.mixture - block.stems.sum(0)
        waves[MIXTURE] = block.mixture
        for name, writer in self.writers.items():
            writer.write(waves[name])

    def warnings(self) -> list[str]:
        """What happened to values beyond full scale."""
        notes = [
            f"{name} has {writer.n_clipped} values beyond full scale (peak {writer.peak:.3f}), "
            "which were clipped; use --clip-mode rescale or --float32 to keep them"
            for name, writer in self.writers.items()
            if writer.n_clipped
        ]
        if self.scale < 1:
            notes.append(
                f"all files were multiplied by {self.scale:.4f}, as --clip-mode rescale asks"
            )
        return notes


class PendingFile:
    """A file that is written under a temporary name, ``part``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        make_folder(path)

    def commit(self) -> None:
        """Give it its name.

        Raises:
            AudioError: The disk refuses.
        """
        try:
            os.replace(self.part, self.path)
        except OSError as error:
            raise AudioError(f"cannot write {self.path}: {error.strerror or error}") from error

    def discard(self) -> None:
        """Remove it, unless it has its name."""
        self.part.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """The folder of a file.

    Raises:
        AudioError: It cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(f"cannot write {path}: {error.strerror or error}") from error


def _open_writer(path: Path, reader: MixtureReader, output: OutputSettings) -> Any:
    from lqsep.core.audio.files import AudioWriter

    make_folder(path)
    return AudioWriter(
        path,
        reader.sample_rate,
        reader.channels,
        format=output.format,
        subtype=output.subtype,
        clip_mode=output.clip_mode,
        n_samples=reader.n_samples,
    )
