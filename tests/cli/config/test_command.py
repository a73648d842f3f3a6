"""``lqsep config`` makes, checks and shows configurations."""

import tomllib
from pathlib import Path

import pytest

from lqsep.cli.config.template import TEMPLATE
from lqsep.cli.main import run
from lqsep.core.components.config import load_config, parse_config
from lqsep.core.components.registry import Registry


def test_the_template_is_a_valid_configuration() -> None:
    config = parse_config(tomllib.loads(TEMPLATE), Registry.discover())
    assert list(config.sources) == ["drums", "bass"]
    assert config.data is not None


def test_init_prints_the_template(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "init"]) == 0
    assert capsys.readouterr().out == TEMPLATE


def test_init_writes_a_file_and_never_replaces_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pipeline.toml"
    assert run(["config", "init", "-o", str(path)]) == 0
    assert path.read_text() == TEMPLATE
    path.write_text("mine")
    assert run(["config", "init", "-o", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert run(["config", "init", "-o", str(tmp_path / "no" / "such.toml")]) == 2


def test_init_that_fails_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "pipeline.toml"
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        found = run(["config", "init", "-o", str(path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert found == 2
    assert capsys.readouterr().err == f"lqsep: error: cannot write {path}: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_init_from_a_model_works_from_any_folder(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "elsewhere" / "mine.toml"
    path.parent.mkdir()
    assert run(["config", "init", "-n", str(tiny_model), "-o", str(path)]) == 0
    # The default of `checkpoint` is a path beside the file: name the model's own.
    settings = load_config(path, Registry.discover())
    assert settings.weights == str(tiny_model)
    assert settings.model == {}  # what is true of the model need not be of its changed settings
    capsys.readouterr()
    assert run(["config", "check", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: the settings are valid, the weights fit\n"


def test_check_names_every_mistake_with_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.toml"
    text = TEMPLATE.replace('"ancestral"', '"ancestrla"').replace("gain = 0.5", "gian = 0.5", 1)
    path.write_text(text)
    assert run(["config", "check", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "sources.drums.gian: unknown field" in error
    assert "sampler.type: no sampler named 'ancestrla'; did you mean 'ancestral'?" in error


def test_check_of_a_file_that_is_not_toml(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("version = = 1")
    assert run(["config", "check", str(path)]) == 2
    assert "is not a valid TOML file" in capsys.readouterr().err
    assert run(["config", "check", str(tmp_path / "missing.toml")]) == 2


def test_check_before_training_says_which_weights_are_not_there_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text(TEMPLATE)
    assert run(["config", "check", str(path)]) == 0
    assert capsys.readouterr().out == (
        f"{path}: the settings are valid; not there yet: codec.safetensors, "
        "prior.drums.safetensors, prior.bass.safetensors\n"
    )


def test_check_compares_the_weights_with_the_settings(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", "check", str(tiny_model)]) == 0
    path = tiny_model / "model.toml"
    text = path.read_text()
    path.write_text(text.replace("codebook_size = 16", "codebook_size = 32"))
    assert run(["config", "check", str(path)]) == 3
    assert "codec.safetensors" in capsys.readouterr().err
    path.write_text(text)
    (tiny_model / "prior.bass.safetensors").unlink()
    assert run(["config", "check", str(path)]) == 0
    assert "not there yet: prior.bass.safetensors" in capsys.readouterr().out


def test_show_fills_in_every_default_and_can_be_read_again(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", "show", "-n", str(tiny_model), "-p", "sampler.n_candidates=7"]) == 0
    out = capsys.readouterr().out
    shown = tomllib.loads(out)
    assert shown["sampler"]["n_candidates"] == 7
    assert shown["sampler"]["temperature"] == 1.0
    assert shown["codec"]["checkpoint"] == "codec.safetensors"
    assert shown["pipeline"]["overlap"] == 0.1
    path = tmp_path / "shown.toml"
    path.write_text(out)
    assert run(["config", "show", str(path)]) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize("arguments", [[], ["FILE", "-n", "x"]])
def test_show_needs_a_file_or_a_model(
    arguments: list[str], tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(tiny_model) if a == "FILE" else a for a in arguments]
    assert run(["config", "show", *given]) == 2
    assert "one of them" in capsys.readouterr().err


def test_show_refuses_a_wrong_setting(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", str(tiny_model), "-p", "sampler.n_candidates=0"]) == 2
    assert "sampler.n_candidates" in capsys.readouterr().err
