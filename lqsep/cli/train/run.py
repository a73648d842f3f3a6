"""One training run: from a configuration to weights and a model.toml."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lqsep.cli.console.printable import print_line
from lqsep.cli.train.description import of_the_parts
from lqsep.cli.train.parts import TrainablePart, parts_to_train
from lqsep.cli.train.presets import load_recipe
from lqsep.cli.train.progress import TrainingProgress
from lqsep.core.components.assemble import BuildContext, TrainContext, build
from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.components.config import PipelineConfig
from lqsep.core.components.overrides import get_table, read_toml
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.components.trainers import Trained, train, validation_figures
from lqsep.core.errors import CheckpointError, ConfigError, PluginError
from lqsep.core.files.new_file import try_folder
from lqsep.core.store.devices import resolve_device
from lqsep.core.store.model_directory import MODEL_FILE, declared_hashes, update_model_toml
from lqsep.core.store.weights import read_header
from lqsep.core.training.settings import LoopSettings

if TYPE_CHECKING:
    import torch

    from lqsep.core.interfaces.codec import Codec
    from lqsep.core.interfaces.dataset import Dataset
    from lqsep.core.training.events import Report


@contextmanager
def opened_run(device: str, resume: bool, **choices: Any) -> Iterator[TrainRun]:
    """A run together with the other processes of its launcher, if there are any.

    Takes what `TrainRun.open` takes; the first process alone shows progress. Workers that torchrun
    starts again after a failure resume.
    """
    from lqsep.core.training import processes

    if (choices["config_path"] is None) == (choices["preset"] is None):
        raise click.UsageError("expected either --config FILE or --preset NAME")
    if not choices["dry_run"]:
        _check_output(choices["output"])
    resume |= int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    with processes.joined(resolve_device(device)) as own:
        with TrainingProgress(quiet=None if processes.is_main() else True) as progress:
            yield TrainRun.open(device=own, resume=resume, report=progress.report, **choices)


def _check_output(folder: Path) -> None:
    """See that the model directory can be written, or made, before any work.

    Raises:
        ConfigError: It cannot.
    """
    try:
        try_folder(folder)
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"cannot write to {folder}: {why}; choose another --output") from error


@dataclass(frozen=True)
class TrainRun:
    """A validated configuration, what of it is trained, and everything the trainers share.

    Args:
        config: The pipeline; its weights go to the model directory whatever its own folder is.
        registry: Where components are found.
        parts: What is trained, one after the other.
        context: For the trainers; its source and codec are filled in per training.
        build_context: For the codec that the parts work on, based on the model directory.
        dry_run: Only take two steps of each training and tell what the whole would take.
    """

    config: PipelineConfig
    registry: Registry
    parts: Sequence[TrainablePart]
    context: TrainContext
    build_context: BuildContext
    dry_run: bool = False

    @classmethod
    def open(
        cls,
        *,
        kind: Kind,
        source: str | None = None,
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
        """Read the configuration and, where a trainer reads them, its data sets.

        Raises:
            ConfigError: The configuration is wrong, has nothing to train, or names no training
                data.
        """
        import torch

        from lqsep.core.corpus.subsets import NoTracks

        registry = Registry.discover()
        config = load_recipe(config_path, preset, registry, settings)
        parts = parts_to_train(config, registry, kind, source)
        build_context = BuildContext(
            device=device,
            dtype=torch.float32,
            sources=tuple(config.sources),
            gains=config.gains,
            base_dir=config.base_dir,
        )
        training: Dataset = NoTracks()
        validation = None
        if any(part.registered.spec.needs_data for part in parts):
            if config.data is None:
                raise ConfigError(
                    f"{config_path}: training needs a [data.train] table that names a data set; "
                    "`lqsep components` lists the kinds there are"
                )
            training = _dataset(config.data.train, "data.train", registry, build_context)
            slot = config.data.validation
            if slot is not None:
                validation = _dataset(slot, "data.validation", registry, build_context)
        context = TrainContext(
            dataset=training,
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
            pipeline=config,
        )
        own = replace(build_context, base_dir=output)
        return cls(config, registry, parts, context, own, dry_run)

    def train(self) -> None:
        """Train every part and print its weights files.

        Raises:
            CheckpointError: The codec's weights are missing from the model directory.
        """
        for part in self.parts:
            codec = None if part.kind is Kind.CODEC else self._codec(part.kind)
            self._train(part, replace(self.context, source=part.source, codec=codec))

    def _train(self, part: TrainablePart, context: TrainContext) -> None:
        from lqsep.core.training import processes

        call = partial(train, part.registered, part.config)
        if self.dry_run:
            _rehearse(call, part, context)
            return
        _check_output(context.output_dir)
        context.output_dir.mkdir(parents=True, exist_ok=True)
        # Trainers without the shared loop know nothing of other processes: the first does it all.
        if processes.is_main() or isinstance(part.settings, LoopSettings):
            trained = call(part.settings, context)
        if processes.is_main():
            self._update_model(part, trained)
            for file in trained.files:
                path = context.output_dir / file
                print_line(f"{path}: {trained.summary}" if trained.summary else path)
        processes.wait()

    def _update_model(self, part: TrainablePart, trained: Trained) -> None:
        """Describe new weights in model.toml: configuration, hash, validation figures, recipe.

        What it says of other parts stays; what it said of the model as a whole is no longer true.
        """
        output_dir = self.context.output_dir
        metrics: dict[str, float] = {}
        for file in trained.files:
            if not (output_dir / file).is_file():
                raise PluginError(f"the trainer for {part.section} wrote no {output_dir / file}")
            metrics |= validation_figures(read_header(output_dir / file).metadata)
        path, config = output_dir / MODEL_FILE, self.config.to_dict()
        recipe = {**self.config.train.of(part.kind), "seed": self.context.seed}
        if part.registered.spec.needs_data:
            recipe["data"] = config["data"]
        known = get_table(read_toml(path), "model", path) if path.is_file() else {}
        changes: dict[str, Any] = {
            "model": of_the_parts(known, path),
            f"model.recipe.train.{part.kind}": recipe,
        }
        section, table = self._placed(part.section, trained.config)
        changes[section] = table
        if metrics:
            changes[f"model.metrics.{part.section}"] = metrics
        pipeline = {key: config[key] for key in config if key not in {"model", "data", "train"}}
        update_model_toml(output_dir, config=pipeline, files=trained.files, changes=changes)

    def _placed(self, section: str, config: ComponentConfig) -> tuple[str, Any]:
        """What to write of a component into model.toml, and where.

        One refiner's table is written with the others': as the model has them if it has the same
        ones, else as they are configured.
        """
        table = config.model_dump(mode="json", exclude_none=True)
        name, _, index = section.partition(".")
        if name != "refiners":
            return section, table
        refiners = self.config.to_dict()["refiners"]
        path = self.context.output_dir / MODEL_FILE
        stored = read_toml(path).get(name) if path.is_file() else None
        if isinstance(stored, list) and _types(stored) == _types(refiners):
            refiners = stored
        refiners[int(index)] = table
        return name, refiners

    def _codec(self, kind: Kind) -> Codec:
        config = self.config.codec
        registered = self.registry.find(Kind.CODEC, config.type)
        path = self.context.output_dir / MODEL_FILE
        declared = declared_hashes(path) if path.is_file() else None
        context = replace(self.build_context, hashes=declared)
        try:
            codec: Codec = build(registered, config, context)
        except CheckpointError as error:
            raise CheckpointError(
                f"training a {kind}: the codec cannot be loaded: {error}. Train it into "
                f"{self.context.output_dir} first (lqsep train codec)"
            ) from error
        return codec


def _rehearse(
    call: partial[Trained],
    part: TrainablePart,
    context: TrainContext,
) -> None:
    from lqsep.cli.train.rehearsal import rehearse

    if not isinstance(part.settings, LoopSettings):
        raise ConfigError(f"--dry-run: the trainer for {part.section} does not work in steps")
    found = rehearse(call, part.settings, context)
    if found:
        click.echo(f"{part.section}: {found}")


def _types(refiners: Sequence[Any]) -> list[Any]:
    return [refiner.get("type") if isinstance(refiner, dict) else None for refiner in refiners]


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
