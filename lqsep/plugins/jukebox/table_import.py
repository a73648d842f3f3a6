"""A table of code sums of the reference, checked and made the model's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from lqsep.core.components.assemble import BuildContext, TrainContext, build
from lqsep.core.components.config import PipelineConfig
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.components.trainers import train, trainer_settings
from lqsep.core.corpus.subsets import NoTracks
from lqsep.core.errors import CheckpointError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.store.devices import resolve_device
from lqsep.core.training.events import TrainEvent, TrainStep
from lqsep.plugins.jukebox.sum_table import (
    SUMS_FILE,
    load_model_table,
    read_reference_table,
    save_model_table,
    wrong_entries,
)


def import_table(
    path: Path,
    codebook: Tensor,
    config: PipelineConfig,
    registry: Registry,
    device: str,
    on_pairs: Callable[[int, int], None] | None,
) -> None:
    """Write the table of a file as the model's, if it fits the codec and the gains.

    The nearest codes that it is compared with are those that the likelihood's own trainer finds.

    Args:
        path: The reference's file.
        codebook: The vectors of the codec's codes.
        config: The model's pipeline, in whose folder the codec's weights are.
        registry: Where its components are found.
        device: Where nearest codes are looked for.
        on_pairs: Progress callback ``(pairs_done, pairs_total)``.

    Raises:
        CheckpointError: The file is missing, damaged or unsafe, or does not fit.
        DeviceError: The device is not available.
    """
    target = config.base_dir / SUMS_FILE
    table = read_reference_table(path, len(codebook))
    codec = _train_likelihood(config, registry, device, on_pairs)
    nearest = load_model_table(target, codec.fingerprint)
    first, second = config.gains
    wrong = wrong_entries(table, nearest, codebook, (first, second))
    if not wrong:
        save_model_table(target, table, (first, second), codec.fingerprint)
        return
    one, two = config.sources
    place = f"{path} does not fit the codec at gains {one}={first:g} and {two}={second:g}"
    # With the gains the other way round, rows and columns change places.
    if first != second and not wrong_entries(table, nearest.T, codebook, (second, first)):
        raise CheckpointError(
            f"{place}: it is of the gains the other way round; its rows are codes of the first "
            f"source, so give --gain {one}={second:g} --gain {two}={first:g}, or the priors in the "
            "other order"
        )
    raise CheckpointError(
        f"{place}: {wrong} of its {table.numel()} entries are not the nearest code of their sum; "
        "give the gains it was made with, or leave --sums out and run `lqsep sums` on the model"
    )


def _train_likelihood(
    config: PipelineConfig,
    registry: Registry,
    device: str,
    on_pairs: Callable[[int, int], None] | None,
) -> Codec:
    """Let the likelihood's trainer write its table into the model directory; gives the codec."""

    def report(event: TrainEvent) -> None:
        if on_pairs is not None and isinstance(event, TrainStep):
            on_pairs(event.progress.step, event.progress.steps)

    building = BuildContext(
        device=resolve_device(device),
        dtype=torch.float32,
        sources=tuple(config.sources),
        gains=config.gains,
        base_dir=config.base_dir,
    )
    codec: Codec = build(registry.find(Kind.CODEC, config.codec.type), config.codec, building)
    registered = registry.find(Kind.LIKELIHOOD, config.likelihood.type)
    context = TrainContext(
        dataset=NoTracks(),
        validation=None,
        sources=building.sources,
        gains=building.gains,
        source=None,
        codec=codec,
        output_dir=config.base_dir,
        device=building.device,
        seed=0,
        resume=False,
        report=report,
        pipeline=config,
    )
    train(registered, config.likelihood, trainer_settings(registered, {}), context)
    return codec
