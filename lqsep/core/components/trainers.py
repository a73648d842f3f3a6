"""Call the trainer that a component declares, whatever its kind.

A trainer is a function ``trainer(config, train_config, context)``: it gets the component's own
configuration, the settings below ``[train.<kind>]``, and a
`lqsep.core.components.assemble.TrainContext`. It writes files into the model directory and says
which, by a `Trained`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqsep.core.components.assemble import import_target
from lqsep.core.components.config import parse_settings
from lqsep.core.errors import ConfigError, LqsepError, PluginError
from lqsep.core.interfaces.calls import contained, told

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lqsep.core.components.assemble import TrainContext
    from lqsep.core.components.component_config import ComponentConfig
    from lqsep.core.components.registry import RegisteredComponent


# Of the figures' names in the metadata of weights.
_VALIDATION = "validation/"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a trainer has made.

    Args:
        config: The component's configuration, naming its files.
        files: The files, safetensors below `TrainContext.output_dir`; ``model.toml`` will hold
            their sha256. Their metadata is that of `weights_metadata`.
        summary: What there is to tell of them beside their names, in a line.
    """

    config: ComponentConfig
    files: tuple[str, ...]
    summary: str = ""


def weights_metadata(
    component: str, context: TrainContext, figures: Mapping[str, float], **more: str
) -> dict[str, str]:
    """What a weights file says of itself.

    Args:
        component: Name of what was trained.
        context: Of the trainer.
        figures: Of the validation of these weights; ``model.toml`` will have them too.
        more: Whatever else the component wants to know of its weights.
    """
    metadata = {"component": component, **more, "seed": str(context.seed)}
    if context.source is not None:
        metadata["source"] = context.source
        if context.codec is not None:
            metadata["codec_fingerprint"] = context.codec.fingerprint
    return metadata | {f"{_VALIDATION}{name}": f"{value:.4f}" for name, value in figures.items()}


def validation_figures(metadata: Mapping[str, str]) -> dict[str, float]:
    """The figures that `weights_metadata` was given."""
    return {
        key.removeprefix(_VALIDATION): float(value)
        for key, value in sorted(metadata.items())
        if key.startswith(_VALIDATION)
    }


def has_trainer(registered: RegisteredComponent) -> bool:
    """Whether the component can be trained."""
    return registered.spec.trainer is not None and registered.spec.train_config is not None


def trainer_settings(registered: RegisteredComponent, settings: Mapping[str, Any]) -> BaseModel:
    """The settings of a component's trainer, validated.

    Raises:
        ConfigError: It has no trainer, or a setting is wrong.
    """
    spec = registered.spec
    if spec.trainer is None or spec.train_config is None:
        raise ConfigError(f"{spec.kind} '{spec.name}' has no trainer: it cannot be trained")
    return parse_settings(spec.train_config, settings, f"train.{spec.kind}")


def train(
    registered: RegisteredComponent,
    config: ComponentConfig,
    train_config: BaseModel,
    context: TrainContext,
) -> Trained:
    """Train a component; what fails without an error of lqsep's own is the plugin's fault.

    Args:
        registered: The component; it has a trainer.
        config: Its own configuration.
        train_config: From `trainer_settings`.
        context: What else the trainer may know.

    Raises:
        LqsepError: Whatever the trainer says of itself.
        PluginError: It failed otherwise, or does not say what it wrote.
    """
    spec = registered.spec
    assert spec.trainer is not None
    name = f"{spec.kind} '{registered.qualified_name}'"
    try:
        trainer = import_target(spec.trainer)
        with contained():
            trained = trainer(config, train_config, context)
    except LqsepError:
        raise
    except Exception as error:
        raise PluginError(f"training {name} failed: {told(error)}") from error
    checkpoint = getattr(config, "checkpoint", None)
    if trained is None and checkpoint is not None:
        return Trained(config=config, files=(checkpoint,))
    if not isinstance(trained, Trained):
        raise PluginError(
            f"training {name}: expected the trainer to return what it has written as a Trained, "
            f"or to write the file of the setting checkpoint, got {trained!r}"
        )
    return trained
