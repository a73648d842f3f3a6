"""A whole model directory in a few seconds: for tests that need one to load and run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lqsep.core.components.assemble import BuildContext, TrainContext, build
from lqsep.core.components.component_config import ComponentConfig, prior_file
from lqsep.core.components.config import parse_config
from lqsep.core.components.registry import RegisteredComponent, Registry
from lqsep.core.components.spec import Kind
from lqsep.core.components.trainers import train, trainer_settings
from lqsep.core.store.model_directory import update_model_toml
from lqsep.testing.contexts import build_context, train_context

# 8000 Hz, 64 samples per frame, 8 codes: separates a second in well under a second.
TINY: dict[str, Any] = {
    "version": 1,
    "model": {"version": "0", "licence": "MIT", "training_data": "synthetic"},
    "codec": {
        "type": "lq-vae",
        "sample_rate": 8000,
        "downs_t": [3],
        "strides_t": [4],
        "multipliers": [1],
        "width": 4,
        "depth": 1,
        "embedding_dim": 4,
        "codebook_size": 8,
    },
    "sources": {
        source: {
            "gain": 0.5,
            "prior": {
                "type": "transformer",
                "checkpoint": prior_file(source),
                "width": 8,
                "depth": 1,
                "heads": 1,
                "max_frames": 64,
                "blocks": 8,
            },
        }
        for source in ("drums", "bass")
    },
    "likelihood": {"type": "codebook-sum"},
    "sampler": {"type": "ancestral", "n_candidates": 2},
    "selector": {"type": "mean"},
    "refiners": [{"type": "wiener"}, {"type": "consistency"}],
    "data": {
        split: {
            "type": "synthetic",
            "n_tracks": n_tracks,
            "duration_s": 1.0,
            "sample_rate": 8000,
            "seed": seed,
        }
        for split, n_tracks, seed in (("train", 2, 0), ("validation", 1, 1))
    },
    "train": {
        "codec": {"steps": 1, "batch_size": 2, "clip_samples": 2048, "validation_clips": 1},
        "prior": {"steps": 1, "batch_size": 1, "versions": 1, "validation_windows": 1},
    },
}


def make_tiny_model(directory: str | Path) -> Path:
    """Make a model of drums and bass, each part trained for a single step: it runs, no more.

    Built-in components only, trained through the trainers that they declare, on synthetic sounds.
    The weights are the same on every call.

    Args:
        directory: Made if needed. Its name is the model's.

    Returns:
        The directory, for ``Separator.from_pretrained`` or ``lqsep separate -n``.
    """
    directory = Path(directory)
    registry = Registry.discover()
    config = parse_config(TINY, registry, directory)
    assert config.data is not None and config.data.validation is not None
    sources = tuple(config.sources)
    building = build_context(directory, sources=sources, gains=config.gains)
    context = train_context(
        _build(registry, Kind.DATASET, config.data.train, building),
        directory,
        validation=_build(registry, Kind.DATASET, config.data.validation, building),
        sources=sources,
        gains=config.gains,
    )
    directory.mkdir(parents=True, exist_ok=True)
    _train(registry.find(Kind.CODEC, config.codec.type), config.codec, config.train.codec, context)
    codec = _build(registry, Kind.CODEC, config.codec, building)
    for source, settings in config.sources.items():
        _train(
            registry.find(Kind.PRIOR, settings.prior.type),
            settings.prior,
            config.train.prior,
            replace(context, source=source, codec=codec),
        )
    files = sorted(path.name for path in directory.glob("*.safetensors"))
    update_model_toml(directory, config=config.to_dict(), files=files)
    return directory


def _build(registry: Registry, kind: Kind, config: ComponentConfig, context: BuildContext) -> Any:
    return build(registry.find(kind, config.type), config, context)


def _train(
    registered: RegisteredComponent,
    config: ComponentConfig,
    settings: dict[str, Any],
    context: TrainContext,
) -> None:
    train(registered, config, trainer_settings(registered, settings), context)
