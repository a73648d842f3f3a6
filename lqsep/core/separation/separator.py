"""The separator: a pipeline made from a model, and whole inputs carried through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lqsep.core.audio.mixtures import ArrayReader, FileReader, MixtureReader
from lqsep.core.components.assemble import build
from lqsep.core.components.changes import NO_REFINER, PipelineChanges, apply_changes
from lqsep.core.components.config import PipelineConfig, check_two_sources, parse_config
from lqsep.core.components.overrides import read_toml
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.interfaces.candidates import Candidates
from lqsep.core.separation.pipeline import Pipeline
from lqsep.core.separation.run import OnProgress, SeparationRun
from lqsep.core.separation.segments import Segment
from lqsep.core.separation.separation import Separation
from lqsep.core.store.model_directory import Model, build_model, find_config, model_name

MixtureLike = str | Path | tuple[npt.ArrayLike, int] | MixtureReader
"""A path, ``(wave [channels, samples], sample_rate)``, or an open reader."""


class Separator(Pipeline):
    """A pipeline that takes whole inputs; make one with `from_pretrained` or `from_config`."""

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str | torch.device = "auto",
        registry: Registry | None = None,
        preset: str | None = None,
        codec: str | None = None,
        likelihood: str | None = None,
        sampler: str | None = None,
        selector: str | None = None,
        refiners: Sequence[str] | None = None,
        priors: Mapping[str, str] | None = None,
        gains: Mapping[str, float] | None = None,
        candidates: int | None = None,
        sigma: float | None = None,
        segment_s: float | None = None,
        overlap: float | None = None,
        overrides: Sequence[str] = (),
    ) -> Separator:
        """Load a model and assemble its pipeline, changed as the flags of the command change it.

        Args:
            name: A shipped model's name, a model directory, or a ``.toml`` configuration.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or a device.
            registry: Where components are looked up; discovered when None.
            preset: Name of settings that the model has, such as ``fast``; the other changes come
                on top.
            codec: Name of another codec, with its defaults; likewise the next three.
            likelihood: Name of another likelihood.
            sampler: Name of another sampler.
            selector: Name of another selector.
            refiners: Names of the refiners to use instead, in order; empty for none.
            priors: Names of other priors by source.
            gains: Linear factors in the mixture, by source.
            candidates: How many are drawn.
            sigma: Width of the likelihood.
            segment_s: Seconds separated at a time.
            overlap: Share of a segment that overlaps the next one.
            overrides: ``"section.key=value"`` settings, applied last.

        Raises:
            CheckpointError: The model or its weights are missing, damaged or do not fit.
            ConfigError: The configuration is wrong.
            DeviceError: The device is not available.
            IncompatibleComponentsError: There are not two sources, or parts do not fit.
        """
        registry = registry or Registry.discover()
        path = find_config(name)
        kinds = {
            Kind.CODEC: codec,
            Kind.LIKELIHOOD: likelihood,
            Kind.SAMPLER: sampler,
            Kind.SELECTOR: selector,
        }
        changes = PipelineChanges(
            preset=preset,
            components={kind.value: name for kind, name in kinds.items() if name is not None},
            refiners=() if refiners is None else tuple(refiners) or (NO_REFINER,),
            priors=tuple((priors or {}).items()),
            gains=tuple((gains or {}).items()),
            n_candidates=candidates,
            sigma=sigma,
            segment_s=segment_s,
            overlap=overlap,
            settings=overrides,
        )
        data = read_toml(path)
        apply_changes(data, changes, registry, path)
        where = str(path) if changes == PipelineChanges() else f"{path}, with other settings"
        config = parse_config(data, registry, path.parent, name=where)
        return cls.from_config(config, registry=registry, device=device, name=model_name(path))

    @classmethod
    def from_config(
        cls,
        config: PipelineConfig,
        *,
        registry: Registry | None = None,
        device: str | torch.device = "auto",
        name: str = "custom",
    ) -> Separator:
        """Assemble the pipeline of a validated configuration; errors as in `from_pretrained`."""
        check_two_sources(tuple(config.sources), name)
        registry = registry or Registry.discover()
        return cls.from_model(build_model(config, registry, device, name=name), registry)

    @classmethod
    def from_model(cls, model: Model, registry: Registry) -> Separator:
        """Add likelihood, sampler, selector and refiners to a loaded model."""
        config = model.config

        def make(kind: Kind, slot: Any) -> Any:
            return build(registry.find(kind, slot.type), slot, model.context)

        return cls(
            codec=model.codec,
            priors=model.priors,
            likelihood=make(Kind.LIKELIHOOD, config.likelihood),
            sampler=make(Kind.SAMPLER, config.sampler),
            selector=make(Kind.SELECTOR, config.selector),
            refiners=[make(Kind.REFINER, slot) for slot in config.refiners],
            gains=config.gains,
            segment_s=config.pipeline.segment,
            overlap=config.pipeline.overlap,
            prime=config.pipeline.prime,
            device=model.device,
            name=model.name,
            config=config.to_dict(),
        )

    def separate(
        self, mixture: MixtureLike, *, seed: int = 0, on_progress: OnProgress | None = None
    ) -> Separation:
        """Separate a mixture of any length, rate and number of channels.

        Args:
            mixture: A path, ``(wave [channels, samples], sample_rate)``, or an open reader.
            seed: The same seed gives the same stems.
            on_progress: Called with the seconds of audio done and in all.

        Returns:
            Stems at the mixture's rate, channels and exact length.

        Raises:
            AudioError: The mixture cannot be read or holds no samples.
            ConfigError: The seed is no whole number of 0 or more.
            EmptySupportError: Priors and likelihood allow no code at some frame.
            DeviceMemoryError: A segment does not fit in the device's memory.
        """
        with self.stream(mixture, seed=seed, on_progress=on_progress) as run:
            parts = [block.stems for block in run]
            stems = torch.cat(parts, -1).cpu().numpy().astype(np.float32)
            return Separation(
                stems=dict(zip(self.sources, stems, strict=True)),
                sample_rate=run.reader.sample_rate,
                report=run.report(),
            )

    def stream(
        self, mixture: MixtureLike, *, seed: int = 0, on_progress: OnProgress | None = None
    ) -> SeparationRun:
        """Like `separate`, but gives out finished stretches, so that memory stays bounded.

        A context manager: leaving it closes the file, if a path was given.
        """
        if isinstance(mixture, str | Path):
            return SeparationRun(self, FileReader(mixture), seed, on_progress, closes=True)
        reader = ArrayReader(*mixture) if isinstance(mixture, tuple) else mixture
        return SeparationRun(self, reader, seed, on_progress)

    def posterior(
        self, mixture: MixtureLike, *, seed: int = 0, on_progress: OnProgress | None = None
    ) -> list[tuple[Segment, Candidates]]:
        """Candidates of every segment, with log prior, likelihood and evidence."""
        with self.stream(mixture, seed=seed, on_progress=on_progress) as run:
            return list(run.candidates())
