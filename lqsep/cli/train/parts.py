"""The components of a pipeline that one call of ``lqsep train`` works on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lqsep.core.components.component_config import is_plain_name, prior_file
from lqsep.core.components.registry import RegisteredComponent, Registry
from lqsep.core.components.spec import Kind
from lqsep.core.components.trainers import has_trainer, trainer_settings
from lqsep.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lqsep.core.components.component_config import ComponentConfig
    from lqsep.core.components.config import PipelineConfig


@dataclass(frozen=True)
class TrainablePart:
    """A component with its place in the pipeline.

    Args:
        registered: What trains it.
        config: Its configuration; one with a setting ``checkpoint`` names its weights.
        settings: Of its trainer.
        section: Where the configuration stands: ``codec``, ``sources.drums.prior``,
            ``refiners.1``.
        source: The source whose prior it is.
    """

    registered: RegisteredComponent
    config: ComponentConfig
    settings: BaseModel
    section: str
    source: str | None = None

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.registered.spec.kind


def parts_to_train(
    config: PipelineConfig, registry: Registry, kind: Kind, source: str | None = None
) -> list[TrainablePart]:
    """The pipeline's components of a kind; of refiners those that can be trained.

    Args:
        config: The pipeline.
        registry: Where components are found.
        kind: One that ``[train]`` has a table of.
        source: Take the prior of this one alone.

    Raises:
        ConfigError: There is nothing to train, no such source, a trainer's setting is wrong, or
            weights would be written outside the model directory or over those of another part.
    """
    parts: list[TrainablePart] = []
    for section, component, weights, owner in _places(config, registry, kind, source):
        registered = registry.find(kind, component.type)
        settings = trainer_settings(registered, config.train.of(kind))
        fields = type(component).model_fields
        if "checkpoint" in fields and getattr(component, "checkpoint", None) is None:
            component = component.model_copy(update={"checkpoint": weights})
        _check_weights(section, getattr(component, "checkpoint", None), parts)
        parts.append(TrainablePart(registered, component, settings, section, owner))
    return parts


def _check_weights(section: str, weights: str | None, parts: Sequence[TrainablePart]) -> None:
    if weights is None:
        return
    if not is_plain_name(weights):
        raise ConfigError(
            f"{section}.checkpoint: expected the plain name of a file, which training writes into "
            f"the model directory, got '{weights}'"
        )
    for other in parts:
        if getattr(other.config, "checkpoint", None) == weights:
            raise ConfigError(
                f"{section}.checkpoint: {other.section} writes '{weights}' too; choose another name"
            )


def _places(
    config: PipelineConfig, registry: Registry, kind: Kind, source: str | None
) -> Iterator[tuple[str, ComponentConfig, str, str | None]]:
    """Section, component, name of its weights where it names none, and source of each place."""
    if kind is Kind.PRIOR:
        for name in _chosen_sources(config, source):
            prior = config.sources[name].prior
            yield f"sources.{name}.prior", prior, prior_file(name), name
    elif kind is Kind.REFINER:
        for index, refiner in _with_trainer(config, registry):
            yield f"refiners.{index}", refiner, f"refiner.{index}.safetensors", None
    else:
        yield kind.value, getattr(config, kind.value), f"{kind}.safetensors", None


def _chosen_sources(config: PipelineConfig, source: str | None) -> tuple[str, ...]:
    """The named source, or all of them."""
    names = tuple(config.sources)
    if source is None:
        return names
    if source not in names:
        raise ConfigError(
            f"no source named '{source}'{did_you_mean(source, names)}; "
            f"the configuration has: {', '.join(names)}"
        )
    return (source,)


def _with_trainer(config: PipelineConfig, registry: Registry) -> list[tuple[int, ComponentConfig]]:
    """The refiners that can be trained, with their places in the list."""
    found = [
        (index, refiner)
        for index, refiner in enumerate(config.refiners)
        if has_trainer(registry.find(Kind.REFINER, refiner.type))
    ]
    if not found:
        names = ", ".join(f"'{refiner.type}'" for refiner in config.refiners) or "none"
        raise ConfigError(
            f"no refiner of the pipeline has a trainer: its refiners are {names}; there is nothing "
            "to train"
        )
    return found
