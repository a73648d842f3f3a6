"""The data set that a command line names: kind, folder, split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqsep.core.components.config import parse_settings
from lqsep.core.components.overrides import apply_override
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import ConfigError

if TYPE_CHECKING:
    from lqsep.core.interfaces.dataset import Dataset


@dataclass(frozen=True)
class DatasetChoice:
    """A data set as plain values, which another process can open.

    Args:
        type: The component's name.
        root: Its folder.
        split: Its split; None where it has none.
        settings: Further ``key=value``, values as TOML.
    """

    type: str
    root: Path
    split: str | None = None
    settings: tuple[str, ...] = ()

    def open(self, sources: Sequence[str], registry: Registry) -> Dataset:
        """The data set; of kinds that let choose, with the sources of the model alone.

        Raises:
            ConfigError: It reads no folder, has no splits, or lacks a source.
            AudioError: It has no tracks.
        """
        import torch

        from lqsep.core.components.assemble import BuildContext, build

        found = registry.find(Kind.DATASET, self.type)
        fields = found.spec.config.model_fields
        values: dict[str, Any] = {"type": self.type}
        for name, value in (("root", str(self.root)), ("split", self.split)):
            if name in fields and value is not None:
                values[name] = value
            elif value is not None:
                raise ConfigError(
                    f"data set '{self.type}' has no setting {name}, got {str(value)!r}; choose "
                    "another with --dataset"
                )
        if "sources" in fields:
            values["sources"] = list(sources)
        for setting in self.settings:
            apply_override(values, setting)
        context = BuildContext(
            device=torch.device("cpu"),
            dtype=torch.float32,
            sources=tuple(sources),
            gains=(1.0,) * len(sources),
            base_dir=Path(),
        )
        config = parse_settings(found.spec.config, values, f"data set '{self.type}'")
        dataset: Dataset = build(found, config, context)
        missing = [source for source in sources if source not in dataset.sources]
        if missing:
            raise ConfigError(
                f"{self.root}: expected recordings of {', '.join(sources)}, found "
                f"{', '.join(dataset.sources) or 'none'}; choose another data set, layout or model"
            )
        return dataset

    def to_dict(self) -> dict[str, Any]:
        """For ``evaluation.json``."""
        root = self.root.resolve()
        return {
            "type": self.type,
            "name": root.name,
            "split": self.split,
            "root": str(root),
            "settings": list(self.settings),
        }
