"""Plugins found, looked up and kept apart from each other's faults."""

import textwrap
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import lqsep.plugins
from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.components.registry import PluginProblem, Registry
from lqsep.core.components.spec import CommandSpec, ComponentSpec, Kind, hookimpl
from lqsep.core.errors import AmbiguousComponentError, UnknownComponentError


class ToyConfig(ComponentConfig):
    type: str = "toy"


def spec(name: str, kind: Kind = Kind.SAMPLER, api_version: int = 1) -> ComponentSpec:
    return ComponentSpec(
        kind=kind,
        name=name,
        config=ToyConfig,
        factory="toys:build",
        summary=f"Toy {name}",
        api_version=api_version,
    )


def plugin(*specs: Any) -> object:
    """A plugin that declares these components."""
    return with_hook(lambda: specs)


def with_hook(hook: Callable[..., Any]) -> object:
    return SimpleNamespace(lqsep_components=hookimpl(hook, specname="lqsep_components"))


def with_commands(hook: Callable[..., Any], *specs: ComponentSpec) -> object:
    """A plugin with a hook for commands, and these components if there are any."""
    hooks = {"lqsep_commands": hookimpl(hook, specname="lqsep_commands")}
    if specs:
        hooks["lqsep_components"] = hookimpl(lambda: specs, specname="lqsep_components")
    return SimpleNamespace(**hooks)


def command(path: str) -> CommandSpec:
    return CommandSpec(path, "toys.commands:call", f"Toy {path}")


def calls(registry: Registry) -> list[tuple[str, str]]:
    return [(found.call, found.plugin) for found in registry.commands()]


def names(registry: Registry, kind: Kind | None = None) -> list[str]:
    return [component.qualified_name for component in registry.components(kind)]


def only_problem(registry: Registry) -> PluginProblem:
    assert len(registry.problems) == 1, registry.problems
    return registry.problems[0]


# Looking components up


def test_components_of_several_plugins_are_found_with_their_provider() -> None:
    registry = Registry.from_plugins(a=plugin(spec("one"), spec("two")), b=plugin(spec("three")))
    found = registry.find(Kind.SAMPLER, "three")
    assert (found.spec.name, found.distribution, found.version) == ("three", "b", "0")
    assert registry.problems == ()


def test_the_kind_is_part_of_the_name() -> None:
    registry = Registry.from_plugins(
        a=plugin(spec("rejection", Kind.SAMPLER), spec("rejection", Kind.SELECTOR))
    )
    assert registry.find(Kind.SELECTOR, "rejection").spec.kind is Kind.SELECTOR
    assert registry.find(Kind.SAMPLER, "rejection").spec.kind is Kind.SAMPLER
    assert registry.problems == ()


def test_components_are_sorted_by_kind_name_and_distribution() -> None:
    registry = Registry.from_plugins(
        b=plugin(spec("x"), spec("a")), a=plugin(spec("x"), spec("z", Kind.CODEC))
    )
    assert names(registry) == ["a:z", "b:a", "a:x", "b:x"]
    assert names(registry, Kind.CODEC) == ["a:z"]


def test_an_unknown_name_suggests_what_was_meant() -> None:
    registry = Registry.from_plugins(a=plugin(spec("beam"), spec("ancestral")))
    with pytest.raises(UnknownComponentError) as caught:
        registry.find(Kind.SAMPLER, "beem")
    assert str(caught.value) == (
        "no sampler named 'beem'; did you mean 'beam'? Available: ancestral, beam."
    )


def test_an_unknown_name_of_an_empty_kind() -> None:
    with pytest.raises(UnknownComponentError, match=r"no codec named 'x'\. Available: none\."):
        Registry.from_plugins().find(Kind.CODEC, "x")


def test_an_unknown_name_mentions_plugins_that_failed() -> None:
    registry = Registry.from_plugins(good=plugin(spec("beam")), bad=plugin("not a spec"))
    with pytest.raises(UnknownComponentError, match=r"Plugins with problems: bad \(bad\)"):
        registry.find(Kind.SAMPLER, "other")


# Names that are taken


def test_a_built_in_keeps_its_bare_name() -> None:
    registry = Registry.from_plugins(aaa=plugin(spec("beam")), lqsep=plugin(spec("beam")))
    assert registry.find(Kind.SAMPLER, "beam").distribution == "lqsep"
    assert registry.find(Kind.SAMPLER, "aaa:beam").distribution == "aaa"
    problem = only_problem(registry)
    assert (problem.plugin, problem.distribution, problem.stage) == ("aaa", "aaa", "name")
    assert "a built-in component; use 'aaa:beam'" in problem.error


def test_two_third_parties_with_one_name_are_both_listed_and_must_be_told_apart() -> None:
    registry = Registry.from_plugins(a=plugin(spec("fast")), b=plugin(spec("fast")))
    assert names(registry) == ["a:fast", "b:fast"]
    with pytest.raises(AmbiguousComponentError, match="name one of 'a:fast', 'b:fast'"):
        registry.find(Kind.SAMPLER, "fast")
    assert registry.find(Kind.SAMPLER, "b:fast").distribution == "b"
    assert {(p.distribution, p.stage) for p in registry.problems} == {("a", "name"), ("b", "name")}


def test_distribution_and_name_always_work() -> None:
    registry = Registry.from_plugins(a=plugin(spec("fast")))
    assert registry.find(Kind.SAMPLER, "a:fast") is registry.find(Kind.SAMPLER, "fast")


def test_a_wrong_distribution_suggests_the_right_one() -> None:
    registry = Registry.from_plugins(lqsep=plugin(spec("beam")))
    with pytest.raises(UnknownComponentError, match="did you mean 'lqsep:beam'"):
        registry.find(Kind.SAMPLER, "lqsepp:beam")


def test_of_twins_in_one_plugin_the_first_is_used() -> None:
    first, second = spec("fast"), spec("fast")
    registry = Registry.from_plugins(a=plugin(first, second))
    assert registry.find(Kind.SAMPLER, "fast").spec is first
    problem = only_problem(registry)
    assert problem.stage == "name"
    assert "declared twice by a; the one of plugin 'a' is used" in problem.error


# Faults stay where they are


def raising_hook() -> Iterable[ComponentSpec]:
    yield spec("before")
    raise RuntimeError("boom")


class Leaving(BaseException):
    """As some frameworks end a program."""


def raise_it(error: BaseException) -> Iterable[ComponentSpec]:
    raise error


FAULTS: dict[str, tuple[object, str, str]] = {
    "raises": (with_hook(raising_hook), "declare", "RuntimeError: boom"),
    "bad signature": (with_hook(lambda extra: []), "register", "extra"),
    "no hook": (SimpleNamespace(), "register", "implements neither the hook lqsep_components nor"),
    "unknown hook": (
        SimpleNamespace(lqsep_component=hookimpl(lambda: [], specname="lqsep_component")),
        "register",
        "unknown hook",
    ),
    "not a spec": (plugin("beam"), "declare", "must yield ComponentSpec, got 'beam'"),
    "gives None": (with_hook(lambda: None), "declare", "got None"),
    "not iterable": (with_hook(lambda: 3), "declare", "TypeError"),
    "other version": (
        plugin(spec("future", api_version=2)),
        "api",
        "sampler 'future' was written for plugin API version 2; this lqsep supports 1",
    ),
    "exits": (with_hook(lambda: exit(3)), "declare", "sys.exit(3)"),
    "leaves": (with_hook(lambda: raise_it(Leaving("now"))), "declare", "by Leaving: now"),
    "is closed": (with_hook(lambda: raise_it(GeneratorExit())), "declare", "by GeneratorExit"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported_and_disables_no_other_plugin(name: str) -> None:
    faulty, stage, message = FAULTS[name]
    registry = Registry.from_plugins(a=plugin(spec("first")), faulty=faulty, z=plugin(spec("last")))
    assert names(registry) == ["a:first", "z:last"]
    problem = only_problem(registry)
    assert (problem.plugin, problem.distribution, problem.stage) == ("faulty", "faulty", stage)
    assert message in problem.error


def test_one_component_of_another_version_leaves_its_neighbours_alone() -> None:
    registry = Registry.from_plugins(a=plugin(spec("old"), spec("new", api_version=2)))
    assert names(registry) == ["a:old"]
    assert only_problem(registry).stage == "api"


def test_a_plugin_may_declare_nothing() -> None:
    registry = Registry.from_plugins(a=plugin())
    assert registry.components() == ()
    assert registry.problems == ()


def test_the_same_plugin_in_two_registries() -> None:
    shared = plugin(spec("fast"))
    assert names(Registry.from_plugins(a=shared)) == ["a:fast"]
    assert names(Registry.from_plugins(b=shared)) == ["b:fast"]


# Commands


def test_commands_are_found_with_their_provider_sorted_by_their_place() -> None:
    registry = Registry.from_plugins(
        b=with_commands(lambda: [command("tune piano"), command("data mend")]),
        a=with_commands(lambda: [command("zap")], spec("fast")),
    )
    assert calls(registry) == [
        ("lqsep data mend", "b"),
        ("lqsep tune piano", "b"),
        ("lqsep zap", "a"),
    ]
    found = registry.commands()[0]
    assert (found.distribution, found.version, found.spec) == ("b", "0", command("data mend"))
    assert names(registry) == ["a:fast"]
    assert registry.problems == ()


def test_asking_for_commands_asks_for_no_component() -> None:
    asked: list[str] = []

    def components() -> Iterable[ComponentSpec]:
        asked.append("components")
        return [spec("fast")]

    both = with_commands(lambda: [command("zap")])
    both.lqsep_components = hookimpl(components, specname="lqsep_components")  # type: ignore[attr-defined]
    registry = Registry.from_plugins(a=both)
    assert calls(registry) == [("lqsep zap", "a")]
    assert asked == []
    assert names(registry) == ["a:fast"]


def raising_commands() -> Iterable[CommandSpec]:
    yield command("before")
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (raising_commands, "RuntimeError: boom"),
        (lambda: ["data mend"], "must yield CommandSpec, got 'data mend'"),
        (lambda: [spec("fast")], "must yield CommandSpec, got ComponentSpec"),
        (lambda: None, "got None"),
        (lambda: 3, "TypeError"),
        (lambda: [command("No Name")], "ValueError: words of a command's path must be"),
        (lambda: exit(3), "sys.exit(3)"),
    ],
)
def test_a_fault_of_a_plugins_commands_is_theirs_alone(
    hook: Callable[..., Any], message: str
) -> None:
    registry = Registry.from_plugins(
        a=with_commands(lambda: [command("first")]),
        faulty=with_commands(hook, spec("fast")),
        z=with_commands(lambda: [command("last")]),
    )
    assert calls(registry) == [("lqsep first", "a"), ("lqsep last", "z")]
    assert names(registry) == ["faulty:fast"], "its components stay"
    problem = only_problem(registry)
    assert (problem.plugin, problem.distribution, problem.stage) == ("faulty", "faulty", "declare")
    assert message in problem.error


def test_a_fault_of_a_plugins_components_leaves_its_commands() -> None:
    faulty = with_commands(lambda: [command("zap")])
    faulty.lqsep_components = hookimpl(lambda: ["beam"], specname="lqsep_components")  # type: ignore[attr-defined]
    registry = Registry.from_plugins(faulty=faulty)
    assert calls(registry) == [("lqsep zap", "faulty")]
    assert only_problem(registry).stage == "declare"


@pytest.mark.parametrize(
    ("built_in", "other", "message"),
    [
        ("data mend", "data mend", "'lqsep data mend' is brought by plugin 'lqsep' of lqsep"),
        ("data", "data mend", "'lqsep data mend' does not go with 'lqsep data' of plugin 'lqsep'"),
        ("data mend", "data", "'lqsep data' does not go with 'lqsep data mend' of plugin 'lqsep'"),
    ],
)
def test_a_built_in_keeps_the_place_of_its_command(built_in: str, other: str, message: str) -> None:
    registry = Registry.from_plugins(
        aaa=with_commands(lambda: [command(other), command("data paint")]),
        lqsep=with_commands(lambda: [command(built_in)]),
    )
    kept = [("lqsep data paint", "aaa")] if built_in != "data" else []
    assert sorted(calls(registry)) == sorted([(f"lqsep {built_in}", "lqsep"), *kept])
    problem = registry.problems[0]
    assert (problem.plugin, problem.stage) == ("aaa", "name")
    assert message in problem.error


def test_of_two_third_parties_the_first_has_the_place() -> None:
    registry = Registry.from_plugins(
        a=with_commands(lambda: [command("zap"), command("zap")]),
        b=with_commands(lambda: [command("zap"), command("zapper")]),
    )
    assert calls(registry) == [("lqsep zap", "a"), ("lqsep zapper", "b")]
    assert [(p.plugin, p.stage) for p in registry.problems] == [("a", "name"), ("b", "name")]


# Discovery, with distributions as pip would lay them down


def install(folder: Path, distribution: str, **modules: str) -> None:
    """Put a distribution's metadata and its plugin modules into a folder of ``sys.path``."""
    info = folder / f"{distribution.replace('-', '_')}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
    lines = []
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(textwrap.dedent(source))
        lines.append(f"{module} = {module}")
    (info / "entry_points.txt").write_text("[toys]\n" + "\n".join(lines) + "\n")


SAMPLER = """
from lqsep import ComponentConfig, ComponentSpec, Kind, hookimpl


class Config(ComponentConfig):
    type: str = "{name}"


@hookimpl
def lqsep_components():
    yield ComponentSpec(
        kind=Kind.SAMPLER, name="{name}", config=Config, factory="x:y", summary="Toy",
        api_version=1,
    )
"""


def sampler_module(name: str) -> str:
    return SAMPLER.format(name=name)


def test_discover_finds_installed_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "toy-fast", toy_fast_plugin=sampler_module("fast"))
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry.discover(group="toys")
    found = registry.find(Kind.SAMPLER, "toy-fast:fast")
    assert (found.distribution, found.version, found.plugin) == (
        "toy-fast",
        "1.5",
        "toy_fast_plugin",
    )
    assert registry.problems == ()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("raise RuntimeError('at import')", "RuntimeError: at import"),
        ("import sys; sys.exit(7)", "sys.exit(7)"),
        ("class Stop(BaseException): pass\nraise Stop('here')", "by Stop: here"),
        ("raise GeneratorExit", "by GeneratorExit"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, error: str
) -> None:
    install(
        tmp_path,
        "toys",
        toy_broken_plugin=source,
        toy_good_plugin=sampler_module("good"),
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry.discover(group="toys")
    assert names(registry) == ["toys:good"]
    problem = only_problem(registry)
    assert (problem.plugin, problem.distribution, problem.stage) == (
        "toy_broken_plugin",
        "toys",
        "load",
    )
    assert error in problem.error


def test_twins_of_two_plugins_of_one_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path,
        "toys",
        toy_twin_a=sampler_module("twin"),
        toy_twin_b=sampler_module("twin"),
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry.discover(group="toys")
    assert registry.find(Kind.SAMPLER, "twin").plugin == "toy_twin_a"
    problem = only_problem(registry)
    assert (problem.plugin, problem.stage) == ("toy_twin_b", "name")
    assert "the one of plugin 'toy_twin_a' is used" in problem.error


@pytest.mark.parametrize("blocked", ["toys-b", "toy_block_b"])
def test_blocked_plugins_are_not_even_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocked: str
) -> None:
    install(tmp_path, "toys-a", toy_block_a=sampler_module("a"))
    install(tmp_path, "toys-b", toy_block_b="raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(Registry.discover(group="toys").problems) == 1
    registry = Registry.discover(group="toys", blocked=[blocked])
    assert names(registry) == ["toys-a:a"]
    assert registry.problems == ()


# The installation itself


def test_every_plugin_folder_has_an_entry_point() -> None:
    """An editable install made before a new folder does not know it: install again."""
    folders = {
        f"lqsep.plugins.{path.parent.name}.plugin"
        for path in Path(lqsep.plugins.__file__).parent.glob("*/plugin.py")
    }
    declared = {e.value for e in entry_points(group="lqsep") if e.dist and e.dist.name == "lqsep"}
    assert folders
    assert folders == declared


def test_the_built_ins_have_no_problems() -> None:
    registry = Registry.discover()
    assert [p for p in registry.problems if p.distribution == "lqsep"] == []


def test_the_type_of_a_built_in_is_its_name_by_default() -> None:
    for component in Registry.discover().components():
        if component.distribution == "lqsep":
            default = component.spec.config.model_fields["type"].default
            assert default == component.spec.name


def test_the_users_interruption_is_no_fault_of_a_plugin() -> None:
    with pytest.raises(KeyboardInterrupt):
        names(Registry.from_plugins(slow=with_hook(lambda: raise_it(KeyboardInterrupt()))))


def test_what_a_plugin_prints_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "toys", toy_loud_plugin=f"print('at import')\n{sampler_module('good')}")
    monkeypatch.syspath_prepend(tmp_path)
    assert names(Registry.discover(group="toys")) == ["toys:good"]
    print("results")
    assert capsys.readouterr() == ("results\n", "at import\n")
