"""Separate the example mixture with the shipped model, and say how well it went.

Writes everything under ``./separated/``: stems as WAV, ``lqsep.json``, and a PNG with the
spectrograms of mixture and stems. Prints a table of SDR against the true stems, beside two
baselines that know nothing of the model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from lqsep import Separator
from lqsep.core.audio.files import read_audio
from lqsep.core.evaluation.baselines import hpss, share_mixture
from lqsep.core.plotting.spectrograms import plot_spectrograms
from lqsep.core.signal.metrics import windowed_sdr

EXAMPLE = Path(__file__).parent / "audio" / "drums-bass"
MODEL = "drums-bass"


def main() -> None:
    mixture, rate = read_audio(EXAMPLE / "mixture.flac")
    truth = {name: read_audio(EXAMPLE / f"{name}.flac")[0] for name in ("drums", "bass")}
    separator = Separator.from_pretrained(MODEL, device="auto")

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("separating", total=mixture.shape[1] / rate)
        separation = separator.separate(
            EXAMPLE / "mixture.flac",
            seed=0,
            on_progress=lambda done, total: progress.update(task, completed=done),
        )

    directory = separation.save(Path("separated") / MODEL / "mixture")
    picture = plot_spectrograms(
        mixture, separation.stems, rate, directory / "spectrograms.png", references=truth
    )

    harmonic, percussive = hpss(torch.from_numpy(mixture), rate)
    halves = share_mixture(torch.from_numpy(mixture), 2)
    rows = {
        "lqsep": separation.stems,
        "mixture / 2": {"drums": halves[0].numpy(), "bass": halves[1].numpy()},
        "HPSS": {"drums": percussive.numpy(), "bass": harmonic.numpy()},
    }
    print("SDR in dB (1 s windows, median)")
    print(f"{'':<14}" + "".join(f"{name:>8}" for name in truth))
    for title, stems in rows.items():
        scores = [windowed_sdr(truth[name], stems[name], rate).median for name in truth]
        print(f"{title:<14}" + "".join(f"{score:8.2f}" for score in scores))
    residual = mixture - np.sum(list(separation.stems.values()), axis=0)
    print(
        f"\nlargest difference between the mixture and the sum of stems: {abs(residual).max():.1e}"
    )
    print(f"seconds of computation per second of audio: {separation.report.seconds_per_second:.2f}")
    print(f"stems and report: {directory}/   spectrograms: {picture}")


if __name__ == "__main__":
    main()
