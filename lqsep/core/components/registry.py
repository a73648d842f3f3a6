"""Find plugins, look their components up, keep the list of what went wrong.

A registry is a value: made once by the command line, a notebook or a test, then passed on.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from lqsep.core.components.commands import RegisteredCommand, settle_places
from lqsep.core.components.plugins import (
    LoadedPlugin,
    PluginProblem,
    PluginSource,
    installed_plugins,
    load_plugin,
)
from lqsep.core.components.spec import PROJECT, SUPPORTED_API_VERSIONS, ComponentSpec, Kind
from lqsep.core.errors import AmbiguousComponentError, UnknownComponentError


@dataclass(frozen=True)
class RegisteredComponent:
    """A component, the distribution that provides it and the plugin that declares it."""

    spec: ComponentSpec
    distribution: str
    version: str
    plugin: str

    @property
    def qualified_name(self) -> str:
        """``distribution:name``, which always finds exactly this component."""
        return f"{self.distribution}:{self.spec.name}"


class Registry:
    """Components by kind and name, and commands. Make one with `discover` or `from_plugins`.

    Plugins are imported at once; what they declare is asked for when it is needed, so that listing
    commands builds no configuration.
    """

    def __init__(self, sources: Iterable[PluginSource]) -> None:
        loaded = [load_plugin(source) for source in sources]
        self._plugins = [plugin for plugin in loaded if isinstance(plugin, LoadedPlugin)]
        self._unloaded = [problem for problem in loaded if isinstance(problem, PluginProblem)]

    @classmethod
    def discover(cls, *, group: str = PROJECT, blocked: Collection[str] = ()) -> Registry:
        """Load every installed plugin, in the order of distribution and entry-point name.

        Args:
            group: Entry-point group.
            blocked: Entry-point or distribution names to leave out.
        """
        return cls(installed_plugins(group, blocked))

    @classmethod
    def from_plugins(cls, **plugins: object) -> Registry:
        """A registry of these objects alone, for tests and notebooks; no discovery.

        The keyword is the name of the plugin and of its distribution.
        """
        return cls(
            PluginSource(name, name, "0", lambda plugin=plugin: plugin)  # type: ignore[misc]
            for name, plugin in plugins.items()
        )

    @property
    def problems(self) -> tuple[PluginProblem, ...]:
        """What is not available, and why."""
        return (*self._unloaded, *self._components[1], *self._commands[1])

    def commands(self) -> tuple[RegisteredCommand, ...]:
        """The commands of all plugins, one per place, sorted by it."""
        return tuple(sorted(self._commands[0], key=lambda command: command.spec.words))

    @functools.cached_property
    def _components(self) -> tuple[list[RegisteredComponent], list[PluginProblem]]:
        components: list[RegisteredComponent] = []
        problems: list[PluginProblem] = []
        for plugin in self._plugins:
            source = plugin.source
            specs, problem = plugin.components()
            if problem is not None:
                problems.append(problem)
            for spec in specs:
                registered = RegisteredComponent(
                    spec, source.distribution, source.version, source.name
                )
                problem = _unsupported(registered) or _declared_before(registered, components)
                if problem is None:
                    components.append(registered)
                else:
                    problems.append(problem)
        problems.extend(_shadowed(components))
        return components, problems

    @functools.cached_property
    def _commands(self) -> tuple[list[RegisteredCommand], list[PluginProblem]]:
        commands: list[RegisteredCommand] = []
        problems: list[PluginProblem] = []
        for plugin in self._plugins:
            source = plugin.source
            specs, problem = plugin.commands()
            if problem is not None:
                problems.append(problem)
            commands += [
                RegisteredCommand(spec, source.distribution, source.version, source.name)
                for spec in specs
            ]
        placed, misplaced = settle_places(commands)
        return placed, [*problems, *misplaced]

    def components(self, kind: Kind | None = None) -> tuple[RegisteredComponent, ...]:
        """All components, or those of one kind, sorted by kind, name and distribution."""
        order = list(Kind)
        return tuple(
            sorted(
                (c for c in self._components[0] if kind is None or c.spec.kind == kind),
                key=lambda c: (order.index(c.spec.kind), c.spec.name, c.distribution),
            )
        )

    def find(self, kind: Kind, name: str) -> RegisteredComponent:
        """The component of this kind and name.

        A built-in keeps its bare name whatever other plugins declare; ``distribution:name``
        always finds the component of that distribution.

        Raises:
            UnknownComponentError: Nobody offers it; the message suggests what was meant.
            AmbiguousComponentError: Several third parties offer it.
        """
        offered = self.components(kind)
        if ":" in name:
            for component in offered:
                if component.qualified_name == name:
                    return component
            raise UnknownComponentError(self._unknown(kind, name))
        matches = [c for c in offered if c.spec.name == name]
        built_in = [c for c in matches if c.distribution == PROJECT]
        if built_in:
            return built_in[0]
        if not matches:
            raise UnknownComponentError(self._unknown(kind, name))
        if len(matches) > 1:
            names = ", ".join(f"'{c.qualified_name}'" for c in matches)
            raise AmbiguousComponentError(
                f"{kind} '{name}' is offered by several plugins; name one of {names}"
            )
        return matches[0]

    def _unknown(self, kind: Kind, name: str) -> str:
        bare = sorted({c.spec.name for c in self.components(kind)})
        qualified = sorted(c.qualified_name for c in self.components(kind))
        close = difflib.get_close_matches(name, qualified if ":" in name else bare, n=1)
        guess = f"; did you mean '{close[0]}'?" if close else "."
        message = (
            f"no {kind} named '{name}'{guess} Available: {', '.join(bare) if bare else 'none'}."
        )
        if self.problems:
            plugins = sorted({f"{p.distribution} ({p.plugin})" for p in self.problems})
            message += f" Plugins with problems: {', '.join(plugins)}; see `lqsep components`."
        return message


def _unsupported(component: RegisteredComponent) -> PluginProblem | None:
    spec = component.spec
    if spec.api_version in SUPPORTED_API_VERSIONS:
        return None
    supported = ", ".join(str(version) for version in sorted(SUPPORTED_API_VERSIONS))
    return PluginProblem(
        component.plugin,
        component.distribution,
        "api",
        f"{spec.kind} '{spec.name}' was written for plugin API version {spec.api_version}; "
        f"this lqsep supports {supported}",
    )


def _declared_before(
    component: RegisteredComponent, components: Iterable[RegisteredComponent]
) -> PluginProblem | None:
    spec = component.spec
    for other in components:
        if other.spec.kind == spec.kind and other.qualified_name == component.qualified_name:
            return PluginProblem(
                component.plugin,
                component.distribution,
                "name",
                f"{spec.kind} '{spec.name}' is declared twice by {component.distribution}; "
                f"the one of plugin '{other.plugin}' is used",
            )
    return None


def _shadowed(components: list[RegisteredComponent]) -> list[PluginProblem]:
    """Third-party components whose bare name is taken; they stay available by their full name."""
    problems = []
    for component in components:
        if component.distribution == PROJECT:
            continue
        rivals = [
            c
            for c in components
            if c is not component
            and c.spec.kind == component.spec.kind
            and c.spec.name == component.spec.name
        ]
        if rivals:
            owner = "a built-in" if any(c.distribution == PROJECT for c in rivals) else "another"
            problems.append(
                PluginProblem(
                    component.plugin,
                    component.distribution,
                    "name",
                    f"{component.spec.kind} '{component.spec.name}' is also the name of {owner} "
                    f"component; use '{component.qualified_name}'",
                )
            )
    return problems
