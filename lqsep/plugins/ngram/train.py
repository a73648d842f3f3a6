"""Counts a data set's codes for an n-gram prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from jaxtyping import Int64
from torch import Tensor

from lqsep.core.components.assemble import TrainContext
from lqsep.core.components.component_config import prior_file
from lqsep.core.components.trainers import weights_metadata
from lqsep.core.corpus.encoding import encode_for_training
from lqsep.core.corpus.variation import Variation
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.training.events import TrainNote, TrainValidation
from lqsep.core.training.seeds import spawn_generator
from lqsep.plugins.ngram.config import NgramConfig, NgramTrainConfig
from lqsep.plugins.ngram.factory import count_prior, save_counts
from lqsep.plugins.ngram.prior import NgramPrior


def train_ngram(config: NgramConfig, train_config: NgramTrainConfig, context: TrainContext) -> None:
    """Count the codes of ``context.source`` and write them below ``context.output_dir``.

    Reports ``bits`` per code on the validation data and, beside it, ``unigram_bits``: what a prior
    without any context needs.

    Raises:
        IncompatibleComponentsError: There is no codec or no source.
        AudioError: The source has no audio, or too much that cannot be read.
        CheckpointError: The counts cannot be written.
    """
    codec, source = context.codec, context.source
    if codec is None or source is None:
        raise IncompatibleComponentsError(
            "training an n-gram prior: it needs a trained codec and the name of a source"
        )
    size = codec.codebook_size(context.sources.index(source))
    context.report(TrainNote(f"encoding the tracks of '{source}'"))
    encode = partial(encode_for_training, context, train_config)
    codes = list(
        encode(
            context.dataset,
            versions=train_config.versions,
            variation=Variation.of(train_config),
            generator=spawn_generator(context.seed, f"prior.{source}", "versions"),
        )
    )
    figures: dict[str, float] = {}
    if context.validation is not None:
        held_out = list(encode(context.validation))
        figures = {
            key: bits_per_code(
                count_prior(codes, size, order=order, smoothing=config.smoothing), held_out
            )
            for key, order in (("bits", config.order), ("unigram_bits", 1))
        }
        context.report(TrainValidation(f"prior.{source}", figures))
    path = context.new_file(config.checkpoint or prior_file(source))
    save_counts(path, codes, size, config.order, weights_metadata("ngram", context, figures))


def bits_per_code(prior: NgramPrior, sequences: Sequence[Int64[Tensor, " _frames"]]) -> float:
    """Mean negative log2 probability of the sequences' codes; NaN if there are none."""
    total = sum(float(prior.log_prob(codes[None]).double().sum()) for codes in sequences)
    n_codes = sum(len(codes) for codes in sequences)
    return -total / n_codes / math.log(2) if n_codes else math.nan
