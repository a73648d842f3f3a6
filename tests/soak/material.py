"""What cases begin with, made once: tiny models, sounds and data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from lqsep.testing.models import make_tiny_model
from tests.soak.children import run_child, run_lqsep

RATE = 8000


class Material:
    """Files below a folder, which nothing changes any more.

    Attributes:
        model: A model directory; separates a second in a tenth of one.
        good: A mixture of 0.4 s.
        data: Three tracks in the layout ``<split>/<track>/<source>.wav``, split ``train``.
        exported: The model as checkpoints of LQVAE-separation.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "tiny"
        self.good = folder / "good.wav"
        self.data = folder / "data"
        self.exported = folder / "exported"

    def make(self) -> None:
        """Make everything, in children: this process shall compute nothing."""
        self.folder.mkdir(parents=True)
        self._child(self._model, "a tiny model")
        self._child(self._sounds, "sounds")
        export = ["models", "export", "jukebox", self.model, "-o", self.exported]
        done = run_lqsep(export, self.folder)
        assert done.code == 0, done.err

    def _child(self, call: object, name: str) -> None:
        done = run_child(call, self.folder, name=name)  # type: ignore[arg-type]
        assert done.code == 0, done.err

    def _model(self) -> int:
        make_tiny_model(self.model)
        return 0

    def _sounds(self) -> int:
        from lqsep.plugins.datasets.synthetic import SyntheticDataset

        soundfile.write(self.good, noise(3200, 2, seed=1), RATE, subtype="FLOAT")
        dataset = SyntheticDataset(n_tracks=3, duration_s=0.6, sample_rate=RATE)
        for index in range(len(dataset)):
            track = dataset[index]
            target = self.data / "train" / track.name
            target.mkdir(parents=True)
            for source, wave in track.stems.items():
                soundfile.write(target / f"{source}.wav", np.asarray(wave).T, RATE)
        return 0


def noise(n_samples: int, channels: int, seed: int) -> np.ndarray:
    """Noise at -20 dB, float32, ``samples channels``."""
    generator = np.random.default_rng(seed)
    return (0.1 * generator.standard_normal((n_samples, channels))).clip(-1, 1).astype(np.float32)
