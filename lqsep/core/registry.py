"""Find plugins, look their components up, keep the list of what went wrong.

A registry is a value: made once by the command line, a notebook or a test, then passed on.
"""

from __future__ import annotations

import difflib
import importlib.metadata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import pluggy

from lqsep.core.errors import AmbiguousComponentError, UnknownComponentError
from lqsep.core.spec import PROJECT, SUPPORTED_API_VERSIONS, ComponentSpec, Hooks, Kind


@dataclass(frozen=True)
class RegisteredComponent:
    """A component and the distribution that provides it."""

    spec: ComponentSpec
    distribution: str
    version: str

    @property
    def qualified_name(self) -> str:
        """``distribution:name``, which always finds exactly this component."""
        return f"{self.distribution}:{self.spec.name}"


@dataclass(frozen=True)
class PluginProblem:
    """Why a plugin, or one of its components, is not available.

    ``stage`` is ``load`` (import), ``register`` (pluggy refused it), ``declare`` (its hook
    failed), ``api`` (interface version) or ``name`` (name already taken).
    """

    plugin: str
    distribution: str
    stage: str
    error: str


@dataclass(frozen=True)
class _Candidate:
    name: str
    distribution: str
    version: str
    load: Callable[[], object]


class Registry:
    """Components by kind and name. Make one with `discover` or `from_plugins`."""

    def __init__(
        self, components: Iterable[RegisteredComponent], problems: Iterable[PluginProblem]
    ) -> None:
        self._components = tuple(components)
        self.problems = tuple(problems)

    @classmethod
    def discover(cls, *, group: str = PROJECT, blocked: Collection[str] = ()) -> Registry:
        """Load every installed plugin, in the order of distribution and entry-point name.

        Args:
            group: Entry-point group.
            blocked: Entry-point or distribution names to leave out.
        """
        entry_points = importlib.metadata.entry_points(group=group)
        candidates = []
        for entry_point in entry_points:
            distribution, version = "unknown", "unknown"
            if entry_point.dist is not None:
                distribution = entry_point.dist.metadata["Name"]
                version = entry_point.dist.version
            if entry_point.name in blocked or distribution in blocked:
                continue
            candidates.append(_Candidate(entry_point.name, distribution, version, entry_point.load))
        candidates.sort(key=lambda c: (c.distribution, c.name))
        return cls._collect(candidates)

    @classmethod
    def from_plugins(cls, **plugins: object) -> Registry:
        """A registry of these objects alone, for tests and notebooks; no discovery.

        The keyword is the name of the plugin and of its distribution.
        """
        return cls._collect(
            [
                _Candidate(name, name, "0", lambda plugin=plugin: plugin)  # type: ignore[misc]
                for name, plugin in plugins.items()
            ]
        )

    @classmethod
    def _collect(cls, candidates: Iterable[_Candidate]) -> Registry:
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)
        components: list[RegisteredComponent] = []
        problems: list[PluginProblem] = []
        # Each plugin is loaded, registered and called on its own: pluggy's own entry-point loader
        # and a joint hook call both stop at the first plugin that raises.
        for candidate in candidates:
            stage = "load"
            try:
                plugin = candidate.load()
                stage = "register"
                key = f"{candidate.distribution}:{candidate.name}"
                manager.register(plugin, name=key)
                manager.check_pending()
                stage = "declare"
                specs = _declared(manager, plugin)
            except Exception as error:
                manager.unregister(name=f"{candidate.distribution}:{candidate.name}") if (
                    manager.has_plugin(f"{candidate.distribution}:{candidate.name}")
                ) else None
                problems.append(_problem(candidate, stage, f"{type(error).__name__}: {error}"))
                continue
            for spec in specs:
                if spec.api_version not in SUPPORTED_API_VERSIONS:
                    supported = ", ".join(str(v) for v in sorted(SUPPORTED_API_VERSIONS))
                    problems.append(
                        _problem(
                            candidate,
                            "api",
                            f"{spec.kind} '{spec.name}' was written for plugin API version "
                            f"{spec.api_version!r}; this lqsep supports {supported}",
                        )
                    )
                    continue
                registered = RegisteredComponent(spec, candidate.distribution, candidate.version)
                twin = next(
                    (
                        c
                        for c in components
                        if c.spec.kind == spec.kind
                        and c.qualified_name == registered.qualified_name
                    ),
                    None,
                )
                if twin is not None:
                    problems.append(
                        _problem(
                            candidate,
                            "name",
                            f"{spec.kind} '{spec.name}' is declared twice by "
                            f"{candidate.distribution}; the first one is used",
                        )
                    )
                    continue
                components.append(registered)
        problems.extend(_shadowed(components))
        return cls(components, problems)

    def components(self, kind: Kind | None = None) -> tuple[RegisteredComponent, ...]:
        """All components, or those of one kind, sorted by kind, name and distribution."""
        order = list(Kind)
        return tuple(
            sorted(
                (c for c in self._components if kind is None or c.spec.kind == kind),
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


def _declared(manager: pluggy.PluginManager, plugin: object) -> list[ComponentSpec]:
    """Call this plugin's own hook implementation only, to know whom its components came from."""
    others = [p for p in manager.get_plugins() if p is not plugin]
    specs: list[ComponentSpec] = []
    results = manager.subset_hook_caller("lqsep_components", others)()
    if not results:
        raise ValueError("the plugin does not implement the hook lqsep_components")
    for result in results:
        for spec in result:
            if not isinstance(spec, ComponentSpec):
                raise TypeError(f"lqsep_components must yield ComponentSpec, got {spec!r}")
            specs.append(spec)
    return specs


def _problem(candidate: _Candidate, stage: str, error: str) -> PluginProblem:
    return PluginProblem(candidate.name, candidate.distribution, stage, error)


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
                    component.spec.name,
                    component.distribution,
                    "name",
                    f"{component.spec.kind} '{component.spec.name}' is also the name of {owner} "
                    f"component; use '{component.qualified_name}'",
                )
            )
    return problems
