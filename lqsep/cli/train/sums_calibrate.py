"""``lqsep sums --calibrate``: the noise that the likelihood ``gaussian-sum`` reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lqsep.cli.data.choice import DatasetChoice
from lqsep.cli.separate.outputs import check_target

if TYPE_CHECKING:
    from lqsep.plugins.gaussian_sum.calibration import Calibration, CovarianceKind

CALIBRATION_FILE = "calibration.safetensors"
VALIDATION_SPLIT = "validation"


@dataclass(frozen=True, kw_only=True)
class CalibrationSettings:
    """How the noise is measured.

    Args:
        folder: Of a data set with recordings of the sources.
        dataset: Which kind of data set.
        split: Part of it; None takes ``validation`` where there is such a folder.
        covariance: ``full`` or ``diagonal``.
        n_clips: Mixtures to make.
        clip_s: Their length.
        seed: Of the clips.
        output: File to write; None writes into the model directory.
    """

    folder: Path
    dataset: str
    split: str | None
    covariance: CovarianceKind
    n_clips: int
    clip_s: float
    seed: int
    output: Path | None

    @property
    def recordings(self) -> DatasetChoice:
        """Where the recordings are."""
        split = self.split
        if split is None and (self.folder / VALIDATION_SPLIT).is_dir():
            split = VALIDATION_SPLIT
        return DatasetChoice(self.dataset, self.folder, split)


def calibrate(
    directory: Path,
    gains: Sequence[tuple[str, float]],
    device: str,
    settings: CalibrationSettings,
    on_clip: Callable[[int, int], None] | None = None,
) -> tuple[Path, Calibration]:
    """Measure the noise at the model's gains and store it.

    A file in the model directory is described in its ``model.toml``. The model's likelihood stays
    what it is.

    Args:
        directory: The model directory.
        gains: New gains by source name; the others stay.
        device: Where the codec runs.
        settings: What is measured.
        on_clip: Progress callback ``(clips_done, clips_total)``.

    Raises:
        AudioError: The recordings cannot be read.
        CheckpointError: There is no model, its codec cannot be loaded, or the file not written.
        ConfigError: The model or the data set lacks a source, there is no such data set, or the
            file cannot be written.
        DeviceError: The device is not available.
        IncompatibleComponentsError: There are not two sources.
    """
    import torch

    from lqsep.cli.pipeline.codec_model import open_codec_model
    from lqsep.core.store.model_directory import update_model_toml
    from lqsep.plugins.gaussian_sum.calibration import (
        Calibration,
        measure_noise,
        save_calibration,
        shrunk_covariance,
    )

    model = open_codec_model(directory, device, gains)
    path = settings.output or directory / CALIBRATION_FILE
    check_target(path)
    context = model.context
    both = (context.gains[0], context.gains[1])
    noise = measure_noise(
        settings.recordings.open(context.sources, model.registry),
        context.sources,
        model.codec,
        gains=both,
        n_clips=settings.n_clips,
        clip_s=settings.clip_s,
        device=context.device,
        generator=torch.Generator().manual_seed(settings.seed),
        on_clip=on_clip,
    )
    mean, covariance = shrunk_covariance(noise, settings.covariance)
    calibration = Calibration(mean, covariance, both, model.codec.fingerprint, len(noise))
    save_calibration(path, calibration)
    if path.resolve().parent == directory.resolve():
        changes: dict[str, object] = {f"sources.{name}.gain": gain for name, gain in gains}
        if "calibration" in type(model.config.likelihood).model_fields:
            changes["likelihood.calibration"] = path.name
        update_model_toml(directory, files=[path.name], changes=changes)
    return path, calibration
