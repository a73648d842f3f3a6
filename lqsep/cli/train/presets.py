"""Configurations that come with the package, for ``lqsep train --preset``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from lqsep.core.components.config import PipelineConfig, load_config, parse_config
from lqsep.core.components.overrides import apply_override, read_toml
from lqsep.core.components.registry import Registry

_FOLDER = Path(str(resources.files("lqsep"))) / "presets"

PRESETS = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def preset_path(name: str) -> Path:
    """The file of a preset."""
    return _FOLDER / f"{name}.toml"


def load_recipe(
    path: Path | None, preset: str | None, registry: Registry, settings: Sequence[str]
) -> PipelineConfig:
    """The configuration in a file, whose paths start at its folder, or a preset.

    A preset's paths start at the working directory.

    Raises:
        ConfigError: Every mistake found, each with its path.
    """
    if path is not None:
        return load_config(path, registry, settings)
    assert preset is not None
    data = read_toml(preset_path(preset))
    for setting in settings:
        apply_override(data, setting)
    return parse_config(data, registry, name=f"preset '{preset}'")
