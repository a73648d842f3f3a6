"""lqsep: unsupervised source separation by Bayesian inference in a discrete latent domain.

Importing this package is cheap: its names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lqsep.core.components.component_config import ComponentConfig
    from lqsep.core.components.config import PipelineConfig, load_config
    from lqsep.core.components.registry import Registry
    from lqsep.core.components.spec import CommandSpec, ComponentSpec, Kind, hookimpl
    from lqsep.core.errors import LqsepError
    from lqsep.core.interfaces.data import Separation
    from lqsep.core.separation.separator import Separator
    from lqsep.core.store.model_directory import Model, load_model
    from lqsep.core.training.events import (
        TrainEncoding,
        TrainFinished,
        TrainNote,
        TrainProgress,
        TrainStep,
        TrainValidation,
    )

__version__ = "0.1.0"

__all__ = [
    "CommandSpec",
    "ComponentConfig",
    "ComponentSpec",
    "Kind",
    "LqsepError",
    "Model",
    "PipelineConfig",
    "Registry",
    "Separation",
    "Separator",
    "TrainEncoding",
    "TrainFinished",
    "TrainNote",
    "TrainProgress",
    "TrainStep",
    "TrainValidation",
    "__version__",
    "hookimpl",
    "load_config",
    "load_model",
]

_LAZY = {
    "CommandSpec": "lqsep.core.components.spec",
    "ComponentConfig": "lqsep.core.components.component_config",
    "ComponentSpec": "lqsep.core.components.spec",
    "Kind": "lqsep.core.components.spec",
    "LqsepError": "lqsep.core.errors",
    "Model": "lqsep.core.store.model_directory",
    "PipelineConfig": "lqsep.core.components.config",
    "Registry": "lqsep.core.components.registry",
    "Separation": "lqsep.core.interfaces.data",
    "Separator": "lqsep.core.separation.separator",
    "TrainEncoding": "lqsep.core.training.events",
    "TrainFinished": "lqsep.core.training.events",
    "TrainNote": "lqsep.core.training.events",
    "TrainProgress": "lqsep.core.training.events",
    "TrainStep": "lqsep.core.training.events",
    "TrainValidation": "lqsep.core.training.events",
    "hookimpl": "lqsep.core.components.spec",
    "load_config": "lqsep.core.components.config",
    "load_model": "lqsep.core.store.model_directory",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lqsep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
