"""The result of a separation, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lqsep.core.audio.files import ClipMode
from lqsep.core.audio.mixtures import ArrayReader
from lqsep.core.separation.output.parts import AudioFiles
from lqsep.core.separation.output.pending import MadeFolders, PendingFile
from lqsep.core.separation.output.settings import REPORT_FILE, OutputSettings
from lqsep.core.separation.report import SeparationReport


@dataclass(frozen=True)
class Separation:
    """The result: stems at the mixture's rate, channels and exact length, and what was run.

    Args:
        stems: By source name, float32, ``channels samples``, as they stand in the mixture.
        sample_rate: Of the mixture, in Hz.
        report: What ran, versions, seeds, scores, timings.
    """

    stems: Mapping[str, npt.NDArray[np.float32]]
    sample_rate: int
    report: SeparationReport

    def save(
        self,
        directory: str | Path,
        *,
        format: str = "wav",
        subtype: str = "PCM_16",
        clip_mode: ClipMode = "none",
    ) -> Path:
        """Write ``<stem>.<format>`` per source and ``lqsep.json`` under ``directory``.

        Args:
            directory: Made if needed; older results in it are replaced.
            format: ``wav``, ``flac``, ``ogg`` or ``mp3``.
            subtype: ``PCM_16``, ``PCM_24`` or ``FLOAT``.
            clip_mode: What happens beyond full scale, as for `lqsep.write_audio`.

        Returns:
            The directory.

        Raises:
            AudioError: A file cannot be written; none is left behind.
        """
        directory = Path(directory)
        waves = {name: np.atleast_2d(stem) for name, stem in self.stems.items()}
        first = next(iter(waves.values()))
        form = ArrayReader(first, self.sample_rate)
        output = OutputSettings(
            directory, tuple(waves), format=format, subtype=subtype, clip_mode=clip_mode
        )
        with ExitStack() as undo:
            folders = MadeFolders()
            undo.callback(folders.remove_empty)
            folders.make(directory)
            report = PendingFile(directory / REPORT_FILE)
            undo.callback(report.discard)
            paths = {name: directory / f"{name}.{format}" for name in waves}
            files = AudioFiles(paths, form, output)
            undo.callback(files.discard)
            for name, wave in waves.items():
                files.writers[name].write(wave)
            files.seal(files.peak)
            self.report.write(report.part)
            report.path.unlink(missing_ok=True)
            files.commit()
            report.commit()
            undo.pop_all()
        return directory
