"""The result of a separation, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lqsep.core.audio.files import write_audio
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

    def save(self, directory: str | Path) -> Path:
        """Write ``<stem>.wav`` (PCM 16) per source and ``lqsep.json`` under ``directory``.

        Returns:
            The directory, made if needed.

        Raises:
            AudioError: A file cannot be written.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name, stem in self.stems.items():
            write_audio(directory / f"{name}.wav", stem, self.sample_rate)
        self.report.write(directory / "lqsep.json")
        return directory
