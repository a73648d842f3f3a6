"""Find plugins, look their components up, keep the list of what went wrong.

A registry is a value: made once by the command line, a notebook or a test, then passed on.
"""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import pluggy

from lqsep.core.components.spec import PROJECT, SUPPORTED_API_VERSIONS, ComponentSpec, Hooks, Kind
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
        candidates = []
        for entry_point in importlib.metadata.entry_points(group=group):
            distribution, version = _provider(entry_point.dist)
            if not {entry_point.name, distribution}.isdisjoint(blocked):
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
        components: list[RegisteredComponent] = []
        problems: list[PluginProblem] = []
        for candidate in candidates:
            specs, problem = _declared(candidate)
            if problem is not None:
                problems.append(problem)
            for spec in specs:
                registered = RegisteredComponent(
                    spec, candidate.distribution, candidate.version, candidate.name
                )
                problem = _unsupported(registered) or _declared_before(registered, components)
                if problem is None:
                    components.append(registered)
                else:
                    problems.append(problem)
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


@functools.lru_cache(maxsize=64)
def _provider(distribution: importlib.metadata.Distribution | None) -> tuple[str, str]:
    """Name and version of a distribution, whose metadata may be incomplete."""
    if distribution is None:
        return "unknown", "unknown"
    metadata = distribution.metadata  # parsed anew at every access
    return metadata["Name"] or "unknown", metadata["Version"] or "unknown"


def _declared(candidate: _Candidate) -> tuple[list[ComponentSpec], PluginProblem | None]:
    """Load one plugin and ask it for its components; all of them or a problem.

    Each plugin has a manager of its own: pluggy's entry-point loader and a joint hook call both
    stop at the first plugin that raises, and do not tell whom a component came from.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    stage = "load"
    try:
        plugin = candidate.load()
        stage = "register"
        manager.register(plugin, name=candidate.name)
        manager.check_pending()
        if not manager.hook.lqsep_components.get_hookimpls():
            raise ValueError("the plugin does not implement the hook lqsep_components")
        stage = "declare"
        results = manager.hook.lqsep_components()
        if not results:  # pluggy drops None
            raise TypeError("lqsep_components must give an iterable of ComponentSpec, got None")
        specs = list(results[0])
        for spec in specs:
            if not isinstance(spec, ComponentSpec):
                raise TypeError(f"lqsep_components must yield ComponentSpec, got {spec!r}")
    except (Exception, SystemExit) as error:  # a module may even call sys.exit() when imported
        return [], PluginProblem(
            candidate.name, candidate.distribution, stage, f"{type(error).__name__}: {error}"
        )
    return specs, None


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
