"""A model directory opened for what needs its codec alone: tables, calibrations, counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lqsep.core.components.assemble import BuildContext
    from lqsep.core.components.config import PipelineConfig
    from lqsep.core.components.registry import Registry
    from lqsep.core.interfaces.codec import Codec


@dataclass(frozen=True)
class CodecModel:
    """A model directory's pipeline with its codec, without priors."""

    config: PipelineConfig
    codec: Codec
    context: BuildContext
    registry: Registry


def open_codec_model(
    directory: Path, device: str, gains: Sequence[tuple[str, float]] = ()
) -> CodecModel:
    """Read a model directory's pipeline with other gains and load its codec.

    Raises:
        CheckpointError: There is no model, or its codec cannot be loaded.
        ConfigError: The model has no such source.
        DeviceError: The device is not available.
        IncompatibleComponentsError: There are not two sources.
    """
    import torch

    from lqsep.cli.pipeline.changes import PipelineChanges, read_pipeline
    from lqsep.core.components.assemble import BuildContext, build
    from lqsep.core.components.config import check_two_sources
    from lqsep.core.components.registry import Registry
    from lqsep.core.components.spec import Kind
    from lqsep.core.errors import CheckpointError
    from lqsep.core.store.devices import resolve_device
    from lqsep.core.store.model_directory import MODEL_FILE

    if not (directory / MODEL_FILE).is_file():
        raise CheckpointError(
            f"no {MODEL_FILE} in {directory}: expected a model directory, as `lqsep train` makes it"
        )
    registry = Registry.discover()
    changes = PipelineChanges(gains=gains)
    config = read_pipeline(directory / MODEL_FILE, changes, registry).parse(registry)
    check_two_sources(tuple(config.sources), directory / MODEL_FILE)
    context = BuildContext(
        device=resolve_device(device),
        dtype=torch.float32,
        sources=tuple(config.sources),
        gains=config.gains,
        base_dir=directory,
        hashes=config.model.get("files"),
    )
    codec = build(registry.find(Kind.CODEC, config.codec.type), config.codec, context)
    return CodecModel(config, codec, context, registry)
