"""What is made of a track while it is separated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.files import AudioWriter
from lqsep.core.audio.mixtures import MixtureReader
from lqsep.core.separation.output.settings import MIXTURE, RESIDUAL, OutputSettings
from lqsep.core.separation.run import StemBlock

# Below this peak a residual is what rounding leaves: -100 dB.
_SILENT = 1e-5


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

    def seal(self, peak: float) -> None:
        """Write the rest: nothing that the disk could refuse is left to `commit`.

        Args:
            peak: Of all audio files of the track.
        """

    def commit(self) -> None:
        """Give the files their names."""

    def discard(self) -> None:
        """Remove what was written, files that have their names already among it."""


class AudioFiles(TrackPart):
    """Audio files that are written block by block.

    Args:
        paths: By name; their folders are there.
        reader: Its rate and channels are theirs.
        output: Format and clip mode.

    Raises:
        AudioError: A file cannot be written; nothing is left behind.
    """

    def __init__(
        self, paths: Mapping[str, Path], reader: MixtureReader, output: OutputSettings
    ) -> None:
        self.writers: dict[str, AudioWriter] = {}
        self._committed: list[AudioWriter] = []
        try:
            for name, path in paths.items():
                self.writers[name] = AudioWriter(
                    path,
                    reader.sample_rate,
                    reader.channels,
                    format=output.format,
                    subtype=output.subtype,
                    clip_mode=output.clip_mode,
                    n_samples=reader.n_samples,
                )
        except BaseException:
            self.discard()
            raise

    @property
    def peak(self) -> float:
        return max(writer.peak for writer in self.writers.values())

    @property
    def scale(self) -> float:
        """Factor that the clip mode ``rescale`` applied on `commit`; 1 = none."""
        return min(writer.scale for writer in self.writers.values())

    def seal(self, peak: float) -> None:
        for writer in self.writers.values():
            writer.finish(peak)

    def commit(self) -> None:
        for writer in self.writers.values():
            writer.commit()
            self._committed.append(writer)

    def discard(self) -> None:
        for writer in self.writers.values():
            if writer in self._committed:
                writer.path.unlink(missing_ok=True)
            else:
                writer.discard()


class StemFiles(AudioFiles):
    """The stems, and what else is asked for of the mixture.

    Args:
        paths: By name, see `OutputSettings.paths`.
        reader: The mixture.
        output: Where and as what.
        sources: All of them, in order.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        reader: MixtureReader,
        output: OutputSettings,
        sources: Sequence[str],
    ) -> None:
        self._output, self._sources = output, tuple(sources)
        self._energy = torch.zeros(len(sources), dtype=torch.float64)
        super().__init__(paths, reader, output)

    def push(self, block: StemBlock) -> None:
        self._energy += block.stems.double().square().sum((1, 2))
        waves = self._waves(block.stems, block.mixture)
        for name, writer in self.writers.items():
            writer.write(waves[name])

    def energy_shares(self) -> dict[str, float]:
        """Each source's share of the energy of all stems so far; none where all is silent."""
        total = float(self._energy.sum())
        shares = self._energy / total if total else self._energy
        return dict(zip(self._sources, shares.tolist(), strict=True))

    def warnings(self) -> list[str]:
        """What happened to values beyond full scale, and a residual of nothing."""
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
        if RESIDUAL in self.writers and self.writers[RESIDUAL].peak < _SILENT:
            notes.append(
                "the residual is silent, since the stems sum to the mixture; for everything but "
                "some stems use --stems with --complement"
            )
        return notes

    def _waves(
        self,
        stems: Float[Tensor, "sources channels samples"],
        mixture: Float[Tensor, "channels samples"],
    ) -> dict[str, Tensor]:
        waves = dict(zip(self._sources, stems, strict=True))
        waves[RESIDUAL] = mixture - stems.sum(0)
        waves[MIXTURE] = mixture
        if self._output.complement:
            own = [self._sources.index(name) for name in self._output.stems]
            waves[self._output.complement_name] = mixture - stems[own].sum(0)
        return waves
