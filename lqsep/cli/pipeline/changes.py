"""A model's pipeline as the command line changes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqsep.core.components.changes import PipelineChanges, apply_changes
from lqsep.core.components.config import PipelineConfig, parse_config
from lqsep.core.components.overrides import read_toml
from lqsep.core.components.registry import Registry


@dataclass(frozen=True)
class PipelineSource:
    """A pipeline as plain values, which another process can read: see `parse`."""

    data: dict[str, Any]
    base_dir: Path
    name: str
    path: Path
    is_changed: bool = False

    def parse(self, registry: Registry) -> PipelineConfig:
        """The validated configuration.

        Raises:
            ConfigError: Every mistake found.
        """
        where = f"{self.path}, as changed by the options" if self.is_changed else str(self.path)
        return parse_config(self.data, registry, self.base_dir, name=where)


def read_pipeline(
    name: str | Path, changes: PipelineChanges, registry: Registry, *, is_file: bool = False
) -> PipelineSource:
    """Read a model's or a file's configuration and apply the changes.

    Args:
        name: A shipped model's name, a model directory or a configuration file.
        changes: What the command line changes.
        registry: Where components are looked up.
        is_file: ``name`` is a file, whatever it is called; no model is looked for.

    Raises:
        CheckpointError: There is no such model.
        ConfigError: The file cannot be read, or a change does not fit the pipeline.
    """
    from lqsep.core.store.model_directory import find_config, model_name

    path = Path(name) if is_file else find_config(name)
    data = read_toml(path)
    apply_changes(data, changes, registry, path)
    is_changed = changes != PipelineChanges()
    return PipelineSource(data, path.parent, model_name(path), path, is_changed)
