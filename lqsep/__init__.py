"""lqsep: unsupervised source separation by Bayesian inference in a discrete latent domain.

Importing this package is cheap: its names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lqsep.core.config import PipelineConfig, load_config
    from lqsep.core.errors import LqsepError
    from lqsep.core.interfaces.data import Separation
    from lqsep.core.model_directory import Model, load_model
    from lqsep.core.pipeline import Separator
    from lqsep.core.registry import Registry
    from lqsep.core.spec import ComponentConfig, ComponentSpec, Kind, hookimpl

__version__ = "0.1.0"

__all__ = [
    "ComponentConfig",
    "ComponentSpec",
    "Kind",
    "LqsepError",
    "Model",
    "PipelineConfig",
    "Registry",
    "Separation",
    "Separator",
    "__version__",
    "hookimpl",
    "load_config",
    "load_model",
]

_LAZY = {
    "ComponentConfig": "lqsep.core.spec",
    "ComponentSpec": "lqsep.core.spec",
    "Kind": "lqsep.core.spec",
    "LqsepError": "lqsep.core.errors",
    "Model": "lqsep.core.model_directory",
    "PipelineConfig": "lqsep.core.config",
    "Registry": "lqsep.core.registry",
    "Separation": "lqsep.core.interfaces.data",
    "Separator": "lqsep.core.pipeline",
    "hookimpl": "lqsep.core.spec",
    "load_config": "lqsep.core.config",
    "load_model": "lqsep.core.model_directory",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lqsep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
