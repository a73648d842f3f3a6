"""The documentation says what is there: components, commands, settings, figures, examples."""

import ast
import importlib
import json
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pytest
import torch

import lqsep
from lqsep.cli.config.template import TEMPLATE
from lqsep.cli.main import COMMANDS, cli
from lqsep.cli.plugin_commands import PluginCommands
from lqsep.core.audio.files import read_audio, write_audio
from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.config import parse_config
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.components.trainers import trainer_settings
from lqsep.core.training.settings import LoopSettings

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# Names that only TOML files of other tools have.
FOREIGN_TABLES = {"project", "build-system"}


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(language: str, *pages: str) -> list[Block]:
    """All blocks of a language, of all pages or of those named."""
    paths = [ROOT / page for page in pages] or PAGES
    found = []
    for path in paths:
        content = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\S+)[^\n]*\n(.*?)^```$", content, re.M | re.S):
            if match[1] == language:
                line = content.count("\n", 0, match.start()) + 1
                found.append(Block(str(path.relative_to(ROOT)), line, match[1], match[2]))
    assert found, f"no block of {language} found: the search is broken"
    return found


def table_column(page: str, heading: str, column: int = 0) -> list[str]:
    """Names in backticks in one column of the first table below a line of text."""
    below = text(page).partition(heading)[2]
    assert below, f"{page} has no {heading!r}"
    rows = re.search(r"^\|.*?(?=^[^|]|\Z)", below, re.M | re.S)
    assert rows is not None
    cells = [line.split("|")[1 + column] for line in rows[0].splitlines()[2:]]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


# Components


@cache
def built_in() -> dict[Kind, set[str]]:
    registry = Registry.discover()
    return {
        kind: {c.spec.name for c in registry.components(kind) if c.distribution == "lqsep"}
        for kind in Kind
    }


@pytest.mark.parametrize("kind", Kind)
def test_the_table_of_kinds_lists_exactly_the_built_in_components(kind: Kind) -> None:
    rows = re.findall(rf"^\| {kind} \|.*\|([^|]*)\|$", text("docs/data-flow.md"), re.M)
    assert len(rows) == 1
    assert set(re.findall(r"`([^`]+)`", rows[0])) == built_in()[kind]


def test_the_picture_of_the_rooms_is_that_of_the_imports() -> None:
    rooms = runpy.run_path(str(ROOT / "docs" / "rooms.py"))
    found = text("docs/rooms.svg")
    assert found == rooms["draw"](), "draw it again: python docs/rooms.py"
    # No arc leads upwards.
    assert "#c03030" not in found
    folders = {path.name for path in (ROOT / "lqsep" / "core").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} <= set(rooms["FLOORS"])


# Commands


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in dict.fromkeys(group.list_commands(context)):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words such as ``["train", "codec", "-o", "x"]`` call, and the rest."""
    command: click.Command = cli
    while words and isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        if found is None and command is cli:
            found = example_commands().command((words[0],))
        if found is None:
            break
        command, words = found, words[1:]
    return command, words


@cache
def example_commands() -> PluginCommands:
    """Those of the plugin that a page builds, which is not installed here."""
    sys.path.insert(0, str(ROOT / "examples" / "plugin_minimal"))
    try:
        registry = Registry.from_plugins(example=importlib.import_module("lqsep_sticky"))
        importlib.import_module("lqsep_sticky_command")
    finally:
        sys.path.pop(0)
    assert registry.problems == ()
    return PluginCommands(registry.commands())


def test_every_command_has_a_reference_section() -> None:
    sections = re.findall(r"^\.\. click:: (\S+)\n   :prog: lqsep (\S+)$", text("docs/cli.md"), re.M)
    assert dict((prog, target) for target, prog in sections) == {
        name: command.target for name, command in COMMANDS.items()
    }


def test_the_list_of_commands_is_complete() -> None:
    listed = re.findall(r"^lqsep (\S+)  ", blocks("text", "docs/cli.md")[0].text, re.M)
    assert listed == list(COMMANDS)


def test_the_commands_of_our_plugins_are_listed() -> None:
    found = [c for c in Registry.discover().commands() if c.distribution == "lqsep"]
    page, heading = "docs/cli.md", "Those of the plugins that\ncome with lqsep:"
    assert table_column(page, heading) == [command.call for command in found]
    assert table_column(page, heading, 1) == [command.plugin for command in found]
    # They are in the reference: its sections go down into the groups, plugins' commands included.
    assert {command.spec.words for command in found} <= set(commands(cli))
    assert {command.spec.words[0] for command in found} <= set(COMMANDS)


def test_every_command_is_mentioned() -> None:
    everything = " ".join(" ".join(page.read_text(encoding="utf-8").split()) for page in PAGES)
    missing = [path for path in commands(cli) if f"lqsep {' '.join(path)}" not in everything]
    assert missing == []


def shell_commands() -> list[tuple[str, list[str]]]:
    """Calls of lqsep in shell blocks and in backticks, and where they stand."""
    calls = []
    for block in blocks("sh"):
        lines = re.sub(r"\\\n", " ", block.text).splitlines()
        calls += [(str(block), line) for line in lines]
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        calls += [
            (name, " ".join(code.split()))
            for code in re.findall(r"`(lqsep [^`]+)`", page.read_text(encoding="utf-8"))
        ]
    words = [(where, shlex.split(call, comments=True)) for where, call in calls]
    return [
        (where, call[1:])
        for where, call in words
        if call and Path(call[0]).name == "lqsep" and call[1:]
    ]


def test_the_shell_examples_use_existing_commands_and_options() -> None:
    wrong = []
    for where, words in shell_commands():
        command, rest = find_command(words)
        flags = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}
        if rest and isinstance(command, click.Group) and not rest[0].startswith("-"):
            placeholder = re.fullmatch(r"[a-z]+(\|[a-z]+)+", rest[0])
            if placeholder is None:
                wrong.append(f"{where}: lqsep {' '.join(words)}: no command {rest[0]!r}")
        wrong += [
            f"{where}: lqsep {' '.join(words)}: no option {word!r}"
            for word in rest
            if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)
            and word.partition("=")[0] not in flags | {"--help", "-h"}
        ]
    assert wrong == []


def test_the_shell_examples_are_found() -> None:
    assert len(shell_commands()) > 30


# Configurations


def toml_blocks() -> list[Block]:
    return [
        block for block in blocks("toml") if FOREIGN_TABLES.isdisjoint(tomllib.loads(block.text))
    ]


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``changes``, table by table."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def check_pipeline(data: dict[str, Any]) -> None:
    """Validate a pipeline with the settings of its trainers."""
    registry = Registry.discover()
    config = parse_config(data, registry)
    priors = [source.prior.type for source in config.sources.values()]
    slots = [(Kind.CODEC, config.codec.type), (Kind.LIKELIHOOD, config.likelihood.type)]
    slots += [(Kind.PRIOR, name) for name in priors]
    slots += [(Kind.SELECTOR, config.selector.type)]
    slots += [(Kind.REFINER, refiner.type) for refiner in config.refiners]
    for kind, name in slots:
        settings = config.train.of(kind)
        if settings:
            trainer_settings(registry.find(kind, name), settings)


@pytest.mark.parametrize("block", toml_blocks(), ids=str)
def test_toml_examples_are_valid(block: Block) -> None:
    """Whole pipelines as they are, parts of one as changes to what ``config init`` writes."""
    data = tomllib.loads(block.text)
    if "codec" not in data or "sources" not in data:
        data = merged(tomllib.loads(TEMPLATE), data)
    check_pipeline(data)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "configs").glob("*.toml")), ids=lambda path: path.name
)
def test_example_configurations_are_valid(path: Path) -> None:
    check_pipeline(tomllib.loads(path.read_text(encoding="utf-8")))


def test_whole_pipelines_are_among_the_examples() -> None:
    pages = {block.page for block in toml_blocks() if "[codec]" in block.text}
    assert {"docs/configuration.md", "docs/training.md"} <= pages


# Python


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_examples_compile(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_python_example_runs(
    page: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = next(b.text for b in blocks("python", page) if "from_pretrained" in b.text)
    example = example.replace('"drums-bass"', repr(str(tiny_model)))
    assert str(tiny_model) in example
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 4000)).astype(np.float32)
    write_audio(tmp_path / "song.wav", noise, 16_000)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(example, page, "exec"), names)
    assert names["separation"].stems["drums"].shape == (2, 4000)
    stems = [read_audio(f"separated/song/{stem}.wav")[0] for stem in ("drums", "bass")]
    # The mixture was rounded to 16 bits, and so is each stem: half a step of 1 / 32768 each.
    assert np.abs(sum(stems) - noise).max() < 2 / 32768


def test_the_plugin_of_the_readme_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = next(b.text for b in blocks("python", "README.md") if "hookimpl" in b.text)
    project = next(b.text for b in blocks("toml", "README.md") if "entry-points" in b.text)
    [(name, module_name)] = tomllib.loads(project)["project"]["entry-points"]["lqsep"].items()
    (tmp_path / f"{module_name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry.from_plugins(**{name: importlib.import_module(module_name)})
    assert registry.problems == ()
    component = registry.find(Kind.REFINER, "gate")
    context = BuildContext(
        device=torch.device("cpu"), dtype=torch.float32, sources=(), gains=(), base_dir=tmp_path
    )
    gate = build(component, component.spec.config(threshold=0.5), context)
    stems = torch.tensor([[[0.25, -0.75]], [[0.5, 0.0]]])
    assert gate.refine(stems, None).tolist() == [[[0.0, -0.75]], [[0.5, 0.0]]]


def test_names_of_lqsep_in_examples_exist() -> None:
    for block in blocks("python"):
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lqsep."):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), str(block)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "lqsep":
                    assert node.attr in lqsep.__all__, str(block)


# Figures and fields


def test_the_settings_of_the_training_loop_are_listed() -> None:
    assert set(table_column("docs/training.md", "share those of the loop")) == set(
        LoopSettings.model_fields
    )


def logged(model: Path, run: str) -> dict[str, float]:
    lines = (model / "logs" / f"{run}.jsonl").read_text(encoding="utf-8").splitlines()
    return {key: value for line in lines for key, value in json.loads(line).items()}


def test_every_figure_of_the_codec_is_explained(tiny_model: Path) -> None:
    figures = set(logged(tiny_model, "codec")) - {"step"}
    validation = {f.removeprefix("validation/") for f in figures if f.startswith("validation/")}
    training = {figure for figure in figures if not figure.startswith("validation/")}
    documented = table_column("docs/training.md", "Codec, training:")
    assert training == set(documented)
    documented = table_column("docs/training.md", "Codec, validation:")
    expected = {f"sdr_{name}" for name in ("drums", "bass")} | set(documented) - {"sdr_<source>"}
    assert "sdr_<source>" in documented and validation == expected


def test_every_figure_of_a_prior_is_explained(tiny_model: Path) -> None:
    shared = table_column("docs/training.md", "Codec, training:")
    documented = table_column("docs/training.md", "A prior:")
    figures = {f.removeprefix("validation/") for f in logged(tiny_model, "prior.drums")}
    assert figures - {"step"} - set(shared) == set(documented)


def test_every_field_of_the_report_is_explained(tiny_model: Path) -> None:
    separator = lqsep.Separator.from_pretrained(tiny_model, device="cpu")
    report = separator.separate((np.zeros((1, 800), np.float32), 8000)).report.to_dict()
    assert set(report) == set(table_column("docs/report.md", "are `null`."))
    segment = set(table_column("docs/report.md", "Each segment:"))
    assert set(report["segments"][0]) == segment
    timings = re.search(r"\| `timings_s` \|(.*)\|", text("docs/report.md"))
    assert timings is not None
    assert set(report["segments"][0]["timings_s"]) == set(re.findall(r"`(\w+)`", timings[1]))


# Links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", content)
    assert [target for target in targets if not (page.parent / target).exists()] == []
