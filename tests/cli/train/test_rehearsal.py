"""What a dry run projects from two steps and a few tracks."""

import time
from pathlib import Path

import pytest

from lqsep.cli.train.rehearsal import rehearse
from lqsep.core.components.assemble import TrainContext
from lqsep.core.training.checkpoints import CheckpointFolder
from lqsep.core.training.events import (
    TrainEncoding,
    TrainProgress,
    TrainStep,
    TrainValidation,
)
from lqsep.core.training.settings import LoopSettings
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.testing.contexts import train_context


class Clock:
    """Moves when a trainer works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def context(tmp_path: Path) -> TrainContext:
    training, validation = (
        SyntheticDataset(n_tracks=n_tracks, duration_s=1.0, sample_rate=2000)
        for n_tracks in (50, 6)
    )
    return train_context(training, tmp_path / "model", validation=validation, source="bass")


@pytest.mark.parametrize(
    ("encoded", "seconds"),
    # Two of 50 tracks and two of 6 are encoded, 5 s each.
    [(["validation"], 30), (["train"], 250), (["validation", "train"], 280)],
    ids=["audio", "no validation", "both"],
)
def test_training_and_validation_data_are_projected_apart(
    context: TrainContext, monkeypatch: pytest.MonkeyPatch, encoded: list[str], seconds: int
) -> None:
    clock = Clock(monkeypatch)

    def train(settings: LoopSettings, given: TrainContext) -> None:
        for split in encoded:
            for number in (1, 2):
                clock.now += 5
                progress = TrainProgress(number, 2, number / 2, 0.2, 0.0)
                given.report(TrainEncoding(f"codes.bass.{split}", progress, split == "validation"))
        for number in (1, 2):
            clock.now += 3
            given.report(TrainStep("prior.bass", TrainProgress(number, 2, number / 2, 0.3, 0.0)))
        clock.now += 7
        given.report(TrainValidation("prior.bass", {"bits": 1.0}, 2))
        CheckpointFolder(given.output_dir / "checkpoints" / "prior.bass", 1).save(2, {})

    told = rehearse(train, LoopSettings(steps=10, validate_every=5), context)
    # Ten steps of 3 s and two validations of 7 s.
    assert told.startswith("10 steps of 3 s and validations of 7 s take about 44 s, ")
    minutes = f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds} s"
    assert f"encoding the data before {minutes}; " in told
