"""Load plugins and call their hooks, each by itself, so that one's fault stays its own."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

import pluggy

from lqsep.core.components.spec import PROJECT, CommandSpec, ComponentSpec, Hooks
from lqsep.core.interfaces.calls import contained, told

SpecT = TypeVar("SpecT", ComponentSpec, CommandSpec)


@dataclass(frozen=True)
class PluginProblem:
    """Why a plugin, or something that it offers, is not available.

    ``stage`` is ``load`` (import), ``register`` (pluggy refused it), ``declare`` (a hook
    failed), ``api`` (interface version) or ``name`` (name already taken).
    """

    plugin: str
    distribution: str
    stage: str
    error: str


@dataclass(frozen=True)
class PluginSource:
    """A plugin that may be loaded: its name, who provides it, and how it is had."""

    name: str
    distribution: str
    version: str
    load: Callable[[], object]

    def problem(self, stage: str, error: object) -> PluginProblem:
        """What is wrong with it; an exception is told with its type."""
        text = told(error) if isinstance(error, Exception) else str(error)
        return PluginProblem(self.name, self.distribution, stage, text)


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin whose hooks can be called.

    It has a manager of its own: pluggy's entry-point loader and a joint hook call both stop at the
    first plugin that raises, and do not tell whom a component came from.
    """

    source: PluginSource
    manager: pluggy.PluginManager

    def components(self) -> tuple[list[ComponentSpec], PluginProblem | None]:
        """What the plugin declares; all of it or a problem."""
        return self._declared("lqsep_components", ComponentSpec)

    def commands(self) -> tuple[list[CommandSpec], PluginProblem | None]:
        """Likewise its commands."""
        return self._declared("lqsep_commands", CommandSpec)

    def _declared(
        self, hook: str, expected: type[SpecT]
    ) -> tuple[list[SpecT], PluginProblem | None]:
        caller = getattr(self.manager.hook, hook)
        if not caller.get_hookimpls():
            return [], None
        try:
            with contained():
                results = caller()
                if not results:  # pluggy drops None
                    raise TypeError(
                        f"{hook} must give an iterable of {expected.__name__}, got None"
                    )
                specs = list(results[0])
            for spec in specs:
                if not isinstance(spec, expected):
                    raise TypeError(f"{hook} must yield {expected.__name__}, got {spec!r}")
        except Exception as error:
            return [], self.source.problem("declare", error)
        return specs, None


def installed_plugins(group: str, blocked: Collection[str] = ()) -> list[PluginSource]:
    """The plugins of an entry-point group, in the order of distribution and entry-point name.

    Args:
        group: Entry-point group.
        blocked: Entry-point or distribution names to leave out.
    """
    sources = []
    for entry_point in importlib.metadata.entry_points(group=group):
        distribution, version = _provider(entry_point.dist)
        if {entry_point.name, distribution}.isdisjoint(blocked):
            sources.append(PluginSource(entry_point.name, distribution, version, entry_point.load))
    return sorted(sources, key=lambda source: (source.distribution, source.name))


def load_plugin(source: PluginSource) -> LoadedPlugin | PluginProblem:
    """Import a plugin and see that it implements our hooks, and only ours."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    stage = "load"
    try:
        with contained():
            plugin = source.load()
            stage = "register"
            manager.register(plugin, name=source.name)
        manager.check_pending()
        hooks = (manager.hook.lqsep_components, manager.hook.lqsep_commands)
        if not any(hook.get_hookimpls() for hook in hooks):
            raise ValueError(
                "the plugin implements neither the hook lqsep_components nor lqsep_commands"
            )
    except Exception as error:
        return source.problem(stage, error)
    return LoadedPlugin(source, manager)


@functools.lru_cache(maxsize=64)
def _provider(distribution: importlib.metadata.Distribution | None) -> tuple[str, str]:
    """Name and version of a distribution, whose metadata may be incomplete."""
    if distribution is None:
        return "unknown", "unknown"
    metadata = distribution.metadata  # parsed anew at every access
    return metadata["Name"] or "unknown", metadata["Version"] or "unknown"
