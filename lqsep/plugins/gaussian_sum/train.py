"""Measures the noise of code sums on recordings of the sources."""

from __future__ import annotations

from lqsep.core.components.assemble import TrainContext
from lqsep.core.components.config import check_two_sources
from lqsep.core.components.trainers import Trained
from lqsep.core.corpus.audio_pool import Reading
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.files.new_file import check_target
from lqsep.core.training.events import tell_steps
from lqsep.core.training.seeds import spawn_generator
from lqsep.plugins.gaussian_sum.calibration import (
    Calibration,
    measure_noise,
    save_calibration,
    shrunk_covariance,
)
from lqsep.plugins.gaussian_sum.config import CalibrationTrainConfig, GaussianSumConfig


def train_calibration(
    config: GaussianSumConfig, train_config: CalibrationTrainConfig, context: TrainContext
) -> Trained:
    """Measure at the context's gains and write ``config.calibration`` below its output folder.

    The recordings are those of the validation where there are any, best ones that the codec was
    not trained on. Reports clips as steps.

    Raises:
        AudioError: There is no audio, or too much that cannot be read.
        CheckpointError: The file cannot be written.
        ConfigError: Likewise, told before anything is read.
        IncompatibleComponentsError: There is no codec, or not two sources.
    """
    check_two_sources(context.sources, "likelihood 'gaussian-sum'")
    if context.codec is None:
        raise IncompatibleComponentsError("measuring the noise of code sums: it needs a codec")
    path = context.new_file(config.calibration)
    check_target(path)
    gains = (context.gains[0], context.gains[1])
    noise = measure_noise(
        context.dataset if context.validation is None else context.validation,
        context.sources,
        context.codec,
        gains=gains,
        n_clips=train_config.clips,
        clip_s=train_config.clip_s,
        device=context.device,
        generator=spawn_generator(context.seed, "likelihood", "mixtures"),
        reading=Reading.for_training(train_config, context.report),
        on_clip=tell_steps(context.report, "likelihood"),
    )
    mean, covariance = shrunk_covariance(noise, train_config.covariance)
    calibration = Calibration(mean, covariance, gains, context.codec.fingerprint, len(noise))
    save_calibration(path, calibration)
    return Trained(
        config=config, files=(config.calibration,), summary=f"{calibration.n_frames} frames"
    )
