"""Changes of a pipeline's configuration: other components, other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lqsep.core.components.overrides import apply_overrides, get_table, replace_component
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import ConfigError, PluginError, did_you_mean

NO_REFINER = "none"
DEFAULT_PRESET = "default"


@dataclass(frozen=True, kw_only=True)
class PipelineChanges:
    """Changes of a pipeline's configuration, applied in the order of the fields.

    Args:
        preset: Name of settings that the configuration has; ``default`` changes nothing.
        components: Component name by section (``codec``, ``likelihood``, ``sampler``,
            ``selector``): replaces the whole table by that component's defaults unless the type
            is unchanged.
        refiners: Names, in order, of the refiners to use instead; ``("none",)`` for none at all.
        priors: Name of the prior by source.
        gains: By source.
        n_candidates: Sets the sampler's number of candidates.
        sigma: Sets the likelihood's.
        segment_s: Seconds separated at a time.
        overlap: Share of a segment that overlaps the next one.
        settings: ``section.key=value``.
    """

    preset: str | None = None
    components: Mapping[str, str] = field(default_factory=dict)
    refiners: Sequence[str] = ()
    priors: Sequence[tuple[str, str]] = ()
    gains: Sequence[tuple[str, float]] = ()
    n_candidates: int | None = None
    sigma: float | None = None
    segment_s: float | None = None
    overlap: float | None = None
    settings: Sequence[str] = ()


def apply_changes(
    data: dict[str, Any],
    changes: PipelineChanges,
    registry: Registry,
    where: str | Path = "configuration",
) -> None:
    """Change a configuration, given as a dictionary, in place.

    Args:
        data: The configuration.
        changes: What is to change.
        registry: Where components are looked up.
        where: Its file, for messages.

    Raises:
        ConfigError: An unknown preset or source, a component without the field that a flag sets, or
            something else where a table is expected.
    """
    if changes.preset is not None:
        apply_overrides(data, _preset(data, changes.preset, where))
    for section, component in changes.components.items():
        _replace(data, section, Kind(section), component, registry)
    if changes.refiners:
        data["refiners"] = _refiners(data.get("refiners", []), changes.refiners, registry, where)
    for source, component in changes.priors:
        table = _source(data, source, "prior")
        _replace(table, "prior", Kind.PRIOR, component, registry)
    for source, gain in changes.gains:
        _source(data, source, "gain")["gain"] = gain
    if changes.n_candidates is not None:
        fields = ("beam_width", "n_candidates")
        _set_field(data, Kind.SAMPLER, fields, changes.n_candidates, "candidates", registry)
    if changes.sigma is not None:
        _set_field(data, Kind.LIKELIHOOD, ("sigma",), changes.sigma, "sigma", registry)
    if changes.segment_s is not None:
        data["pipeline"] = {**get_table(data, "pipeline", where), "segment": changes.segment_s}
    if changes.overlap is not None:
        data["pipeline"] = {**get_table(data, "pipeline", where), "overlap": changes.overlap}
    apply_overrides(data, changes.settings)


def _preset(data: dict[str, Any], name: str, where: str | Path) -> list[str]:
    """Its settings."""
    presets = get_table(data, "presets", where)
    if name == DEFAULT_PRESET and name not in presets:
        return []
    known = list(dict.fromkeys([DEFAULT_PRESET, *presets]))
    if name not in presets:
        hint = did_you_mean(name, known) or ";"
        raise ConfigError(f"{where}: no preset '{name}'{hint} presets: {', '.join(known)}")
    settings = get_table(presets, name, where).get("settings", [])
    if not isinstance(settings, list) or not all(isinstance(line, str) for line in settings):
        raise ConfigError(
            f'{where}: presets.{name}.settings must be a list of "section.key=value", got '
            f"{settings!r}"
        )
    return settings


def _replace(
    table: dict[str, Any], section: str, kind: Kind, name: str, registry: Registry
) -> None:
    """`replace_component`, unless the two names stand for the same component."""
    current = table.get(section)
    found = current.get("type") if isinstance(current, dict) else None
    if _full_name(registry, kind, found) != _full_name(registry, kind, name):
        replace_component(table, section, name)


def _full_name(registry: Registry, kind: Kind, name: Any) -> Any:
    """The qualified name where the component is known: ``lq-vae`` is ``lqsep:lq-vae``."""
    try:
        return registry.find(kind, name).qualified_name if isinstance(name, str) else name
    except PluginError:  # which validating the configuration tells
        return name


def _refiners(
    current: Any, names: Sequence[str], registry: Registry, where: str | Path
) -> list[dict[str, Any]]:
    """The named refiners; one that is there already keeps its settings."""
    if NO_REFINER in names:
        if len(names) > 1:
            raise ConfigError(f"refiner '{NO_REFINER}' does not go with other refiners")
        return []
    if not isinstance(current, list) or not all(isinstance(table, dict) for table in current):
        raise ConfigError(f"{where}: refiners must be a list of tables; use [[refiners]]")

    def full_name(name: Any) -> Any:
        return _full_name(registry, Kind.REFINER, name)

    present = [(full_name(table.get("type")), table) for table in current]
    chosen = []
    for name in names:
        same = [table for known, table in present if known == full_name(name)]
        chosen.append(dict(same[-1]) if same else {"type": name})
    return chosen


def _source(data: dict[str, Any], source: str, flag: str) -> dict[str, Any]:
    sources = data.get("sources", {})
    if not isinstance(sources, dict) or not isinstance(sources.get(source), dict):
        known = list(sources) if isinstance(sources, dict) else []
        hint = did_you_mean(source, known) or ";"
        raise ConfigError(f"{flag}: no source named '{source}'{hint} sources: {', '.join(known)}")
    found = sources[source]
    assert isinstance(found, dict)
    return found


def _set_field(
    data: dict[str, Any],
    kind: Kind,
    fields: Sequence[str],
    value: float,
    flag: str,
    registry: Registry,
) -> None:
    """Set the first of the fields that the section's component has."""
    table = data.get(kind.value)
    name = table.get("type") if isinstance(table, dict) else None
    if not isinstance(table, dict) or not isinstance(name, str):
        raise ConfigError(f"{flag}: the configuration has no [{kind}] with a type")
    known = registry.find(kind, name).spec.config.model_fields
    for field_name in fields:
        if field_name in known:
            table[field_name] = value
            return
    raise ConfigError(
        f"{flag}: {kind} '{name}' has no setting {' or '.join(fields)}; "
        f"its settings are {', '.join(n for n in known if n != 'type') or 'none'}"
    )
