"""What a factory and a trainer are given, on the CPU, for tests that build or train a component."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lqsep.core.components.assemble import BuildContext, TrainContext
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.training.events import say_nothing


def build_context(base_dir: Path, **changes: Any) -> BuildContext:
    """For a factory: float32, sources ``drums`` and ``bass`` of gains 0.5, no codec.

    Args:
        base_dir: Where paths begin.
        changes: Other fields, or other values.
    """
    facts: dict[str, Any] = {
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "sources": ("drums", "bass"),
        "gains": (0.5, 0.5),
        "base_dir": base_dir,
    }
    return BuildContext(**{**facts, **changes})


def train_context(dataset: Dataset, output_dir: Path, **changes: Any) -> TrainContext:
    """For a trainer: the sources of `build_context`, seed 0, no validation, no codec.

    Args:
        dataset: Training data.
        output_dir: Where the weights go.
        changes: Other fields, or other values.
    """
    facts: dict[str, Any] = {
        "dataset": dataset,
        "validation": None,
        "sources": ("drums", "bass"),
        "gains": (0.5, 0.5),
        "source": None,
        "codec": None,
        "output_dir": output_dir,
        "device": torch.device("cpu"),
        "seed": 0,
        "resume": False,
        "report": say_nothing,
    }
    return TrainContext(**{**facts, **changes})
