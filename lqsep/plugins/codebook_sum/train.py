"""Builds the table of code sums of a model."""

from __future__ import annotations

from lqsep.core.components.assemble import TrainContext
from lqsep.core.components.config import check_two_sources
from lqsep.core.components.trainers import Trained
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.files.new_file import check_target
from lqsep.core.training.events import tell_steps
from lqsep.plugins.codebook_sum.config import (
    SUMS_FILE,
    CodebookSumConfig,
    DeltaConfig,
    SumTableTrainConfig,
)
from lqsep.plugins.codebook_sum.factory import shared_codebook
from lqsep.plugins.codebook_sum.table import build_sum_table, save_table


def train_table(
    config: CodebookSumConfig | DeltaConfig,
    train_config: SumTableTrainConfig,
    context: TrainContext,
) -> Trained:
    """Write the table of the context's codec and gains below ``context.output_dir``.

    It takes no data. Reports pairs of codes as steps.

    Raises:
        CheckpointError: The table cannot be written.
        ConfigError: Likewise, told before it is computed.
        IncompatibleComponentsError: There is no codec, or not two sources with one codebook.
    """
    check_two_sources(context.sources, f"likelihood '{config.type}'")
    if context.codec is None:
        raise IncompatibleComponentsError("building a table of code sums: it needs a codec")
    name = config.table or SUMS_FILE
    path = context.new_file(name)
    check_target(path)
    gains = (context.gains[0], context.gains[1])
    codebook = shared_codebook(context.codec, context.device, config.type)
    table = build_sum_table(codebook, gains, on_block=tell_steps(context.report, "likelihood"))
    save_table(path, table, gains, context.codec.fingerprint)
    return Trained(config=config.model_copy(update={"table": name}), files=(name,))
