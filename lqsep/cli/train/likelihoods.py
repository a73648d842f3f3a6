"""A likelihood's trainer, called on a finished model: ``lqsep sums`` and ``lqsep counts``.

These commands take a model directory where ``lqsep train likelihood`` takes a configuration. They
choose the likelihood whose file is wanted, which need not be the model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lqsep.cli.data.choice import DatasetChoice
    from lqsep.core.components.assemble import BuildContext
    from lqsep.core.components.component_config import ComponentConfig
    from lqsep.core.components.config import PipelineConfig
    from lqsep.core.components.registry import Registry
    from lqsep.core.components.trainers import Trained

OnProgress = Callable[[float, float], None]
"""Called as ``on_progress(done, total)``, in any unit."""


@dataclass(frozen=True)
class CodecModel:
    """A model directory's pipeline with its codec, without priors.

    Args:
        directory: The model directory.
        config: Its pipeline, with other gains if they were asked for.
        context: With the codec.
        registry: Where components are found.
    """

    directory: Path
    config: PipelineConfig
    context: BuildContext
    registry: Registry

    @classmethod
    def open(
        cls, directory: Path, device: str, gains: Sequence[tuple[str, float]] = ()
    ) -> CodecModel:
        """Read a model directory's pipeline with other gains and load its codec.

        Raises:
            CheckpointError: There is no model, or its codec cannot be loaded.
            ConfigError: The model has no such source.
            DeviceError: The device is not available.
            IncompatibleComponentsError: There are not two sources.
        """
        from lqsep.cli.pipeline.changes import read_pipeline
        from lqsep.core.components.changes import PipelineChanges
        from lqsep.core.components.config import check_two_sources
        from lqsep.core.components.registry import Registry
        from lqsep.core.errors import CheckpointError
        from lqsep.core.store.model_directory import MODEL_FILE, build_codec

        path = directory / MODEL_FILE
        if not path.is_file():
            raise CheckpointError(
                f"no {MODEL_FILE} in {directory}: expected a model directory, as `lqsep train` "
                "makes it"
            )
        registry = Registry.discover()
        config = read_pipeline(path, PipelineChanges(gains=gains), registry).parse(registry)
        check_two_sources(tuple(config.sources), path)
        return cls(directory, config, build_codec(config, registry, device), registry)

    def likelihood(self, name: str, settings: Mapping[str, Any]) -> ComponentConfig:
        """The settings of a likelihood, its defaults but for those that are given.

        Raises:
            UnknownComponentError: There is no such likelihood.
        """
        from lqsep.core.components.config import parse_settings
        from lqsep.core.components.spec import Kind

        model = self.registry.find(Kind.LIKELIHOOD, name).spec.config
        return parse_settings(model, {"type": name, **settings}, f"likelihood '{name}'")


def train_likelihood(
    model: CodecModel,
    config: ComponentConfig,
    settings: Mapping[str, Any],
    *,
    output_dir: Path,
    recordings: DatasetChoice | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Trained:
    """Call a likelihood's trainer with the model's codec and gains.

    Args:
        model: The model.
        config: The likelihood's configuration.
        settings: Of the trainer.
        output_dir: Where its file goes.
        recordings: What it learns from, if it needs data.
        seed: Of everything random.
        on_progress: Progress callback.

    Raises:
        ConfigError: The likelihood has no trainer, or the data set lacks a source.
        LqsepError: Whatever the trainer says of itself.
    """
    from lqsep.core.components.assemble import TrainContext
    from lqsep.core.components.spec import Kind
    from lqsep.core.components.trainers import train, trainer_settings
    from lqsep.core.corpus.subsets import NoTracks
    from lqsep.core.training.events import TrainEvent, TrainStep

    def report(event: TrainEvent) -> None:
        if on_progress is not None and isinstance(event, TrainStep):
            on_progress(event.progress.step, event.progress.steps)

    registered = model.registry.find(Kind.LIKELIHOOD, config.type)
    own, sources = trainer_settings(registered, settings), model.context.sources
    context = TrainContext(
        dataset=recordings.open(sources, model.registry) if recordings else NoTracks(),
        validation=None,
        sources=sources,
        gains=model.context.gains,
        source=None,
        codec=model.context.codec,
        output_dir=output_dir,
        device=model.context.device,
        seed=seed,
        resume=False,
        report=report,
        pipeline=model.config,
    )
    return train(registered, config, own, context)


def describe(model: CodecModel, path: Path, changes: Mapping[str, Any]) -> None:
    """Change ``model.toml`` and note the hash of a file, if that lies beside it."""
    from lqsep.core.store.model_directory import update_model_toml

    if path.resolve().parent == model.directory.resolve():
        update_model_toml(model.directory, files=[path.name], changes=changes)
