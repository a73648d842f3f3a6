"""One training run: from a configuration to weights and a model.toml."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import BaseModel

from lqsep.cli.options import did_you_mean
from lqsep.cli.train.presets import load_recipe
from lqsep.cli.train.progress import TrainingProgress
from lqsep.core.components.assemble import BuildContext, TrainContext, build, import_target
from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.components.config import PipelineConfig, parse_settings
from lqsep.core.components.registry import RegisteredComponent, Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import CheckpointError, ConfigError, LqsepError, PluginError
from lqsep.core.store.model_directory import (
    MODEL_FILE,
    declared_hashes,
    resolve_device,
    update_model_toml,
)
from lqsep.core.store.weights import read_header
from lqsep.core.training.settings import LoopSettings

if TYPE_CHECKING:
    import torch

    from lqsep.core.interfaces.codec import Codec
    from lqsep.core.interfaces.dataset import Dataset
    from lqsep.core.training.events import Report

# Trainers put their validation figures into the weights' metadata under this prefix.
_VALIDATION = "validation/"


@contextmanager
def opened_run(device: str, resume: bool, **choices: Any) -> Iterator[TrainRun]:
    """A run together with the other processes of its launcher, if there are any.

    Takes what `TrainRun.open` takes; the first process alone shows progress. Workers that torchrun
    starts again after a failure resume.
    """
    from lqsep.core.training import processes

    if (choices["config_path"] is None) == (choices["preset"] is None):
        raise click.UsageError("expected either --config FILE or --preset NAME")
    resume |= int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    with processes.joined(resolve_device(device)) as own:
        with TrainingProgress(quiet=None if processes.is_main() else True) as progress:
            yield TrainRun.open(device=own, resume=resume, report=progress.report, **choices)


@dataclass(frozen=True)
class TrainRun:
    """A validated configuration and everything its trainers share.

    Args:
        config: The pipeline; its weights go to the model directory whatever its own folder is.
        registry: Where components are found.
        context: For the trainers; its source and codec are filled in per training.
        build_context: For the codec that priors work on, based on the model directory.
        dry_run: Only take two steps of each training and tell what the whole would take.
    """

    config: PipelineConfig
    registry: Registry
    context: TrainContext
    build_context: BuildContext
    dry_run: bool = False

    @classmethod
    def open(
        cls,
        *,
        config_path: Path | None,
        preset: str | None,
        output: Path,
        settings: Sequence[str],
        device: torch.device,
        seed: int,
        resume: bool,
        dry_run: bool,
        report: Report,
    ) -> TrainRun:
        """Read the configuration and its data sets.

        Raises:
            ConfigError: The configuration is wrong, or names no training data.
        """
        import torch

        registry = Registry.discover()
        config = load_recipe(config_path, preset, registry, settings)
        if config.data is None:
            raise ConfigError(
                f"{config_path}: training needs a [data.train] table that names a data set; "
                "`lqsep components` lists the kinds there are"
            )
        build_context = BuildContext(
            device=device,
            dtype=torch.float32,
            sources=tuple(config.sources),
            gains=config.gains,
            base_dir=config.base_dir,
        )
        train = _dataset(config.data.train, "data.train", registry, build_context)
        validation = None
        if config.data.validation is not None:
            slot = config.data.validation
            validation = _dataset(slot, "data.validation", registry, build_context)
        context = TrainContext(
            dataset=train,
            validation=validation,
            sources=build_context.sources,
            gains=config.gains,
            source=None,
            codec=None,
            output_dir=output,
            device=build_context.device,
            seed=seed,
            resume=resume,
            report=report,
        )
        return cls(config, registry, context, replace(build_context, base_dir=output), dry_run)

    def chosen_sources(self, source: str | None) -> tuple[str, ...]:
        """The named source, or all of them.

        Raises:
            ConfigError: There is no such source.
        """
        names = tuple(self.config.sources)
        if source is None:
            return names
        if source not in names:
            raise ConfigError(
                f"no source named '{source}'{did_you_mean(source, names)}; "
                f"the configuration has: {', '.join(names)}"
            )
        return (source,)

    def train_codec(self) -> None:
        """Train the codec and print its weights file."""
        registered = self.registry.find(Kind.CODEC, self.config.codec.type)
        settings = self.config.train.codec
        self._train(
            registered, self.config.codec, settings, "codec", "codec.safetensors", self.context
        )

    def train_prior(self, source: str) -> None:
        """Train the prior of one source on the trained codec and print its weights file.

        Raises:
            CheckpointError: The codec's weights are missing from the model directory.
        """
        prior = self.config.sources[source].prior
        registered = self.registry.find(Kind.PRIOR, prior.type)
        context = replace(self.context, source=source, codec=self._codec())
        self._train(
            registered,
            prior,
            self.config.train.prior,
            f"sources.{source}.prior",
            f"prior.{source}.safetensors",
            context,
        )

    def _train(
        self,
        registered: RegisteredComponent,
        config: ComponentConfig,
        settings: Mapping[str, Any],
        section: str,
        default_name: str,
        context: TrainContext,
    ) -> None:
        from lqsep.core.training import processes

        spec = registered.spec
        if spec.trainer is None or spec.train_config is None:
            raise ConfigError(f"{spec.kind} '{spec.name}' has no trainer: it cannot be trained")
        train_config = parse_settings(spec.train_config, settings, f"train.{spec.kind}")
        name = getattr(config, "checkpoint", None) or default_name
        if "checkpoint" in type(config).model_fields:
            config = config.model_copy(update={"checkpoint": name})
        train = partial(_call_trainer, registered, config)
        if self.dry_run:
            _rehearse(train, train_config, section, context)
            return
        try:
            context.output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {context.output_dir}: {error.strerror}; choose another --output"
            ) from error
        # Trainers without the shared loop know nothing of other processes: the first does it all.
        if processes.is_main() or isinstance(train_config, LoopSettings):
            train(train_config, context)
        if processes.is_main():
            recipe = {**settings, "seed": context.seed}
            self._update_model(section, config, name, {f"model.recipe.train.{spec.kind}": recipe})
            click.echo(str(context.output_dir / name))
        processes.wait()

    def _update_model(
        self, section: str, config: ComponentConfig, name: str, changes: dict[str, Any]
    ) -> None:
        """Describe new weights in model.toml: configuration, hash, validation figures, recipe."""
        path = self.context.output_dir / name
        if not path.is_file():
            raise PluginError(f"the trainer for {section} wrote no {path}")
        metadata = read_header(path).metadata
        metrics = {
            key.removeprefix(_VALIDATION): float(value)
            for key, value in sorted(metadata.items())
            if key.startswith(_VALIDATION)
        }
        changes[section] = config.model_dump(mode="json", exclude_none=True)
        if metrics:
            changes[f"model.metrics.{section}"] = metrics
        update_model_toml(
            self.context.output_dir, config=self.config.to_dict(), files=[name], changes=changes
        )

    def _codec(self) -> Codec:
        config = self.config.codec
        registered = self.registry.find(Kind.CODEC, config.type)
        path = self.context.output_dir / MODEL_FILE
        declared = declared_hashes(path) if path.is_file() else None
        context = replace(self.build_context, hashes=declared)
        try:
            codec: Codec = build(registered, config, context)
        except CheckpointError as error:
            raise CheckpointError(
                f"training a prior: the codec cannot be loaded: {error}. Train it into "
                f"{self.context.output_dir} first (lqsep train codec)"
            ) from error
        return codec


def _rehearse(
    train: Callable[[LoopSettings, TrainContext], None],
    train_config: BaseModel,
    section: str,
    context: TrainContext,
) -> None:
    from lqsep.cli.train.rehearsal import rehearse

    if not isinstance(train_config, LoopSettings):
        raise ConfigError(f"--dry-run: the trainer for {section} does not work in steps")
    found = rehearse(train, train_config, context)
    if found:
        click.echo(f"{section}: {found}")


def _call_trainer(
    registered: RegisteredComponent,
    config: ComponentConfig,
    train_config: BaseModel,
    context: TrainContext,
) -> None:
    """Train; what fails without an error of lqsep's own is the plugin's fault."""
    spec = registered.spec
    assert spec.trainer is not None
    trainer = import_target(spec.trainer)
    try:
        trainer(config, train_config, context)
    except LqsepError:
        raise
    except Exception as error:
        raise PluginError(
            f"training {spec.kind} '{registered.qualified_name}' failed: "
            f"{type(error).__name__}: {error}"
        ) from error


def _dataset(
    config: ComponentConfig, where: str, registry: Registry, context: BuildContext
) -> Dataset:
    dataset: Dataset = build(registry.find(Kind.DATASET, config.type), config, context)
    missing = [source for source in context.sources if source not in dataset.sources]
    if missing or len(dataset) == 0:
        raise ConfigError(
            f"{where}: expected tracks with stems {', '.join(context.sources)}, found "
            f"{len(dataset)} tracks with {', '.join(dataset.sources) or 'no stems'}"
        )
    return dataset
