"""From a validated configuration to built components, and whether they fit each other."""

from __future__ import annotations

import difflib
import functools
import importlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqsep.core.components.registry import RegisteredComponent
from lqsep.core.components.spec import Kind
from lqsep.core.errors import (
    CheckpointError,
    ConfigError,
    IncompatiblePluginError,
    LqsepError,
    PluginError,
)
from lqsep.core.interfaces.calls import Ended, contained, give_name, told

if TYPE_CHECKING:
    import torch

    from lqsep.core.components.component_config import ComponentConfig
    from lqsep.core.components.config import PipelineConfig
    from lqsep.core.interfaces.codec import Codec
    from lqsep.core.interfaces.dataset import Dataset
    from lqsep.core.training.events import Report


logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What a factory may know.

    Args:
        device: Where tensors live.
        dtype: Of the weights.
        sources: Names, in order; source 0 is the row axis of joint matrices.
        source: The one a prior is built for, else None.
        gains: Linear factor of every source in the mixture.
        codec: The built codec; None while the codec itself is built.
        base_dir: Relative paths in the configuration start here.
        weights_dir: The model directory whose weights are read; None: ``base_dir``.
        hashes: sha256 of weight files by name, as the model directory declares them.
    """

    device: torch.device
    dtype: torch.dtype
    sources: tuple[str, ...]
    gains: tuple[float, ...]
    base_dir: Path
    source: str | None = None
    codec: Codec | None = None
    hashes: Mapping[str, str] | None = None
    weights_dir: Path | None = None

    def path(self, relative: str | Path) -> Path:
        """A path of the configuration, resolved against ``base_dir``."""
        return self.base_dir / relative

    @property
    def source_index(self) -> int | None:
        """The place of ``source`` among the sources, as codecs ask for it; None without one."""
        return None if self.source is None else self.sources.index(self.source)

    def file(self, name: str | Path) -> tuple[Path, str | None]:
        """A weights file of the model, and the sha256 that is declared for it.

        Args:
            name: A plain file name inside the model directory; ``./`` before it makes no
                difference.

        Returns:
            The path, and None where no sha256 is declared: what is read is then unverified, which a
            warning says once.

        Raises:
            CheckpointError: The name leads out of the directory, by folders or by a link.
        """
        folder, plain = self.weights_dir or self.base_dir, os.path.normpath(name)
        path = folder / plain
        if plain != os.path.basename(plain) or plain in {"", ".", ".."}:
            raise CheckpointError(
                f"weights '{name}': expected the plain name of a file in {folder}; copy the file "
                "there, or name the model it belongs to by the setting 'weights'"
            )
        if os.path.realpath(path) != os.path.join(os.path.realpath(folder), plain):
            raise CheckpointError(
                f"weights '{name}' in {folder} is a link to {os.path.realpath(path)}; expected the "
                "file itself: copy it there"
            )
        sha256 = (self.hashes or {}).get(plain)
        if sha256 is None and path.is_file():
            _warn_unverified(path)
        return path, sha256


@dataclass(frozen=True, kw_only=True)
class TrainContext:
    """What a trainer may know.

    Args:
        dataset: Training data; without any track for a component that needs none.
        validation: Data to measure on, or None.
        sources: Names of the pipeline's sources, in order.
        gains: Linear factor of every source in the mixture.
        source: The source whose prior is trained; None for another kind of component.
        codec: The trained codec that the component works on; None for a codec.
        output_dir: Model directory: weights go here, checkpoints and logs into folders below.
        device: Where to train.
        seed: Of everything random.
        resume: Continue from the last checkpoint.
        report: Called with what is to be shown, see `lqsep.core.training.events`.
        pipeline: All of it, as configured; None outside of one.
    """

    dataset: Dataset
    validation: Dataset | None
    sources: tuple[str, ...]
    gains: tuple[float, ...]
    source: str | None
    codec: Codec | None
    output_dir: Path
    device: torch.device
    seed: int
    resume: bool
    report: Report
    pipeline: PipelineConfig | None = None

    def new_file(self, name: str) -> Path:
        """Where a trainer writes a weights file: in the model directory itself.

        Raises:
            ConfigError: The name leads out of it, as that of another model's file would.
        """
        from lqsep.core.components.component_config import is_plain_name

        if not is_plain_name(name):
            raise ConfigError(
                f"cannot write weights '{name}': expected the plain name of a file in "
                f"{self.output_dir}, such as 'weights.safetensors'"
            )
        return self.output_dir / name


@functools.cache
def _warn_unverified(path: Path) -> None:
    logger.warning(
        "unverified: %s has no sha256 in [model.files] of its model.toml; if you do not know where "
        "it comes from, do not use it",
        path,
    )


def import_target(target: str) -> Callable[..., Any]:
    """The callable behind ``"module:callable"``.

    Raises:
        PluginError: The module cannot be imported or has no such name.
    """
    module_name, _, attribute = target.partition(":")
    try:
        with contained():
            module = importlib.import_module(module_name)
    except (ImportError, Ended) as error:
        raise PluginError(f"cannot import {module_name!r} of {target!r}: {error}") from error
    found = getattr(module, attribute, None)
    if not callable(found):
        close = difflib.get_close_matches(attribute, dir(module), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise PluginError(f"{module_name!r} has no callable {attribute!r}{hint}")
    return found  # type: ignore[no-any-return]


def build(registered: RegisteredComponent, config: ComponentConfig, context: BuildContext) -> Any:
    """Import the factory, call it, and check that the result has the kind's interface.

    Raises:
        LqsepError: Whatever the factory says of itself.
        PluginError: The factory failed otherwise.
        IncompatiblePluginError: The result is not a component of the kind.
    """
    spec = registered.spec
    name = f"{spec.kind} '{registered.qualified_name}'"
    try:
        factory = import_target(spec.factory)
        with contained():
            component = factory(config, context)
    except LqsepError:
        raise
    except Exception as error:
        raise PluginError(f"building {name} failed: {told(error)}") from error
    expected = interface(spec.kind)
    if not isinstance(component, expected):
        raise IncompatiblePluginError(
            f"the factory of {name} returned a "
            f"{type(component).__name__}, expected a {expected.__module__}.{expected.__name__}"
        )
    give_name(component, name)
    return component


def interface(kind: Kind) -> type:
    """The abstract class of a kind."""
    module = importlib.import_module(f"lqsep.core.interfaces.{kind.value}")
    found = getattr(module, kind.value.capitalize())
    assert isinstance(found, type)
    return found
