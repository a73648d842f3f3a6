"""``lqsep models`` lists, shows and verifies models."""

import importlib.resources
import re
from pathlib import Path
from typing import Any

import pytest

from lqsep.cli.main import run
from lqsep.cli.models import group as models
from lqsep.core.store import model_directory
from lqsep.core.store.model_directory import shipped_models


@pytest.fixture
def shipped(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation whose only shipped model is the tiny one."""

    def files(package: str) -> Any:
        assert package == "lqsep"
        return tiny_model.parent.parent

    monkeypatch.setattr(importlib.resources, "files", files)
    assert list(model_directory.shipped_models()) == ["tiny"]
    return tiny_model


def test_list_prints_sources_licence_size_quality_and_speed(
    shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "list"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    size = sum(path.stat().st_size for path in shipped.glob("*.safetensors")) / 1e6
    expected = {
        "name": "tiny",
        "sources": "drums, bass",
        "licence": "CC0-1.0",
        "size": f"{size:.1f} MB",
        "test SDR (dB)": "drums 1.5, bass -2.0",
        "s per s of audio": "0.25",
    }
    assert re.split("  +", header) == list(expected)
    assert re.split("  +", line) == list(expected.values())


def test_list_of_a_model_that_was_not_measured(
    shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shipped / "model.toml"
    text = path.read_text()
    path.write_text(text.replace("test_sdr_db", "a").replace("seconds_per_second", "b"))
    assert run(["models", "list"]) == 0
    assert re.split("  +", capsys.readouterr().out.splitlines()[1])[-2:] == ["-", "-"]


def test_list_of_the_shipped_models_fits_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(shipped_models())
    for line in lines[1:]:
        *_, quality, speed = re.split("  +", line)
        assert re.fullmatch(r"drums \d+\.\d+, bass \d+\.\d+", quality) and float(speed) > 0
    # On a terminal, six columns get one more character each between them and at the ends.
    assert max(map(len, lines)) <= 100 - 9


def test_list_without_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.resources, "files", lambda package: tmp_path)
    assert run(["models", "list"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no models" in captured.err


@pytest.mark.parametrize("by", ["name", "directory", "file"])
def test_show_prints_everything_known(
    by: str, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = {"name": "tiny", "directory": str(shipped), "file": str(shipped / "model.toml")}[by]
    assert run(["models", "show", name]) == 0
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    rows = {key: value.strip() for key, value in rows.items()}
    assert rows["name"] == "tiny"
    assert rows["licence"] == "CC0-1.0"
    assert rows["training_data"] == "none: random weights"
    assert rows["test SDR (dB)"] == "drums 1.5, bass -2.0"
    assert rows["s per s of audio"] == "0.25"
    assert rows["metrics.test_sdr_db.bass"] == "-2.0"
    assert rows["codec"] == "lq-vae"
    assert rows["refiners"] == "wiener, consistency"
    assert rows["source drums"] == "gain default, prior ngram"
    assert len(rows["files.codec.safetensors"]) == 64


@pytest.mark.parametrize("target", ["nowhere", "prior.bass.safetensors"])
def test_links_that_lead_nowhere_do_not_count(
    tiny_model: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tiny_model / "prior.bass.safetensors"
    link.unlink()
    size = sum(path.stat().st_size for path in tiny_model.glob("*.safetensors")) / 1e6
    link.symlink_to(target)
    assert run(["models", "show", str(tiny_model)]) == 0
    assert f"{size:.1f} MB" in capsys.readouterr().out


def test_an_unknown_model_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("show", "verify"):
        assert run(["models", command, "no-such-model"]) == 3
        assert "no model named 'no-such-model'" in capsys.readouterr().err


def test_verify_checks_every_file(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["tiny"], [str(shipped)]):
        assert run(["models", "verify", *arguments]) == 0
        assert capsys.readouterr().out.endswith(": 3 files verified\n")


@pytest.mark.parametrize("arguments", [[], ["tiny"]])
def test_verify_finds_a_changed_file(
    arguments: list[str], shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shipped / "prior.bass.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert run(["models", "verify", *arguments]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "prior.bass.safetensors has another sha256 than declared" in captured.err
    path.unlink()
    assert run(["models", "verify", *arguments]) == 3
    assert "prior.bass.safetensors is missing" in capsys.readouterr().err


def test_the_shipped_models_are_whole() -> None:
    for directory in shipped_models().values():
        assert run(["models", "verify", str(directory)]) == 0


def test_nested_tables_become_dotted_names() -> None:
    nested = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert models._flatten(nested) == [("a.b", 1), ("a.c.d", 2), ("e", 3)]


def test_show_prints_presets(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tiny_model / "model.toml").open("a") as file:
        file.write('[presets.fast]\nsummary = "half the time"\nsettings = []\n')
    assert run(["models", "show", str(tiny_model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ", 1)[1].strip() for line in lines if line.startswith("preset fast")] == [
        "half the time"
    ]
