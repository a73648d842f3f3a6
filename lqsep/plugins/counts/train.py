"""Counts which codes of mixtures and sources meet in a data set."""

from __future__ import annotations

import torch

from lqsep.core.components.assemble import TrainContext
from lqsep.core.components.config import PipelineSection, check_two_sources
from lqsep.core.components.trainers import Trained
from lqsep.core.corpus.audio_pool import Reading
from lqsep.core.errors import ConfigError, IncompatibleComponentsError
from lqsep.core.files.new_file import check_target
from lqsep.core.training.events import tell_steps
from lqsep.core.training.seeds import spawn_generator
from lqsep.plugins.counts.config import CountsConfig, CountsTrainConfig
from lqsep.plugins.counts.counting import Counted, count_codes
from lqsep.plugins.counts.factory import shared_codebook_size
from lqsep.plugins.counts.store import LASS_SUFFIX, save_counts


def train_counts(
    config: CountsConfig, train_config: CountsTrainConfig, context: TrainContext
) -> Trained:
    """Count at the context's gains and write ``config.counts`` below its output folder.

    Reports seconds of the first source's recordings as steps.

    Raises:
        AudioError: There is no audio, or too much that cannot be read.
        CheckpointError: The file cannot be written.
        ConfigError: Likewise, told before anything is read, or it is one of LASS.
        IncompatibleComponentsError: There is no codec, not two sources with one codebook, or the
            codec gives no codes of the mixture.
    """
    check_two_sources(context.sources, "likelihood 'counts'")
    if context.codec is None:
        raise IncompatibleComponentsError("counting codes: it needs a codec")
    path = context.new_file(config.counts)
    if path.suffix == LASS_SUFFIX:
        raise ConfigError(
            f"likelihood.counts = {config.counts!r} is a file of LASS, which is only read; set it "
            "to another name to count codes"
        )
    check_target(path)
    with torch.inference_mode():
        counted = count_codes(
            context.dataset,
            context.sources,
            context.codec,
            codebook_size=shared_codebook_size(context.codec),
            gains=(context.gains[0], context.gains[1]),
            clip_s=_clip_s(train_config, context),
            device=context.device,
            generator=spawn_generator(context.seed, "likelihood", "mixtures"),
            passes=train_config.passes,
            reading=Reading.for_training(train_config, context.report),
            on_progress=tell_steps(context.report, "likelihood"),
        )
    save_counts(path, counted.counts)
    return Trained(config=config, files=(config.counts,), summary=_summary(counted))


def _clip_s(train_config: CountsTrainConfig, context: TrainContext) -> float:
    if train_config.clip_s is not None:
        return train_config.clip_s
    pipeline = PipelineSection() if context.pipeline is None else context.pipeline.pipeline
    return pipeline.segment


def _summary(counted: Counted) -> str:
    words = f"{len(counted.counts.counts)} distinct triples in {counted.counts.n_frames} frames"
    if counted.coverage is not None:
        words += f"; other tracks cover {counted.coverage:.1%} of the frames of a held-out track"
    return words
