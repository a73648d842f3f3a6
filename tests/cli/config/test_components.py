"""``lqsep components`` lists what there is, and what is wrong with it."""

import json
import textwrap
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from lqsep.cli.config.components import field_rows
from lqsep.cli.console.tables import plain_lines
from lqsep.cli.main import run
from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind


def install(folder: Path, distribution: str, module: str, source: str) -> None:
    """Put a plugin's metadata and module where Python finds them."""
    info = folder / f"{distribution.replace('-', '_')}-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(f"[lqsep]\n{module} = {module}\n")
    (folder / f"{module}.py").write_text(textwrap.dedent(source))


GOOD = """
    from lqsep import ComponentConfig, ComponentSpec, Kind, hookimpl


    class Config(ComponentConfig):
        type: str = "toy"


    @hookimpl
    def lqsep_components():
        yield ComponentSpec(
            kind=Kind.SAMPLER, name="toy", config=Config, factory="toy:build",
            summary="A sampler for this test", api_version=1,
        )
"""


def test_lists_every_component_on_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["components"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["kind", "name", "provider", "summary"]
    for component in Registry.discover().components():
        expected = [component.spec.kind, component.spec.name, component.distribution]
        found = [line for line in lines if line.split()[:3] == expected]
        assert len(found) == 1
        assert found[0].endswith(component.spec.summary)


def test_lists_one_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["components", "--kind", "codec"]) == 0
    kinds = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line}
    assert "codec" in kinds
    assert kinds.isdisjoint(set(Kind) - {Kind.CODEC})


def test_a_third_party_plugin_is_listed_with_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "lqsep-toy", "lqsep_toy_listed", GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    assert run(["components"]) == 0
    out = capsys.readouterr().out
    assert ["sampler", "toy", "lqsep-toy", "2.0"] in [line.split()[:4] for line in out.splitlines()]


def test_faulty_plugins_are_listed_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "lqsep-toy", "lqsep_toy_faulty", "raise RuntimeError('no good')")
    monkeypatch.syspath_prepend(tmp_path)
    assert run(["components"]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("lqsep_toy_faulty"))
    assert line.split()[1:3] == ["lqsep-toy", "load"]
    assert "RuntimeError: no good" in line
    assert "ancestral" in out


@pytest.mark.parametrize("name", ["lqsep-toy", "lqsep_toy_blocked"])
def test_a_blocked_plugin_is_left_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "lqsep-toy", "lqsep_toy_blocked", GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    assert run(["components", "--block", name]) == 0
    assert "lqsep-toy" not in capsys.readouterr().out
    assert run(["components", "--block", name, "show", "sampler", "toy"]) == 2
    assert "no sampler named 'toy'" in capsys.readouterr().err
    assert run(["components", "show", "sampler", "toy"]) == 0


def test_shows_the_settings_of_a_component(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["components", "show", "sampler", "beam"]) == 0
    out = capsys.readouterr().out
    fields = Registry.discover().find(Kind.SAMPLER, "beam").spec.config.model_fields
    line = next(line for line in out.splitlines() if line.startswith("beam_width"))
    assert "int, >= 1" in line
    assert str(fields["beam_width"].default) in line.split()
    assert str(fields["beam_width"].description) in line
    assert all(any(line.startswith(name) for line in out.splitlines()) for name in fields)


def test_shows_the_settings_of_a_trainer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["components", "show", "codec", "lq-vae"]) == 0
    out = capsys.readouterr().out
    assert "lqsep.plugins.lqvae.train:train_codec" in out
    assert "training settings" in out
    assert "learning_rate" in out


def test_shows_the_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["components", "show", "sampler", "lqsep:beam", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["beam_width"]["type"] == "integer"


@pytest.mark.parametrize(("kind", "name"), [("sampler", "beem"), ("codec", "nobody:lq-vae")])
def test_an_unknown_component_is_exit_code_2(
    kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["components", "show", kind, name]) == 2
    assert f"no {kind} named '{name}'" in capsys.readouterr().err


class Inner(BaseModel):
    depth: int = Field(2, description="Layers")


class Outer(ComponentConfig):
    type: str = "outer"
    inner: Inner = Inner()
    mode: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1, 2)
    width: float = Field(gt=0, le=1, description="Share")
    names: list[str] = Field(default_factory=lambda: ["x"], min_length=1)
    note: str | None = None


def test_types_defaults_and_limits_in_words() -> None:
    assert list(field_rows(Outer)) == [
        ("type", "str", '"outer"', ""),
        ("inner.depth", "int", "2", "Layers"),
        ("mode", "Literal['a', 'b']", '"a"', ""),
        ("sizes", "tuple[int, ...]", "[1, 2]", ""),
        ("width", "float, > 0, <= 1", "required", "Share"),
        ("names", "list[str], at least 1 long", '["x"]', ""),
        ("note", "str | None", "null", ""),
    ]


def test_plain_tables_are_never_wrapped() -> None:
    long = "word " * 100
    lines = plain_lines([["name", "text"], ["a", long], ["longer", "two\nlines"]])
    assert lines == ["name    text", f"a       {long.strip()}", "longer  two lines"]
