"""Settings that a model has by a name."""

import json
from pathlib import Path
from typing import Any

import pytest

from lqsep import Separator
from lqsep.core.errors import ConfigError

PRESETS = """
[presets.fast]
summary = "fewer candidates"
settings = ["sampler.n_candidates=2", "pipeline.overlap=0.4"]

[presets.best]
summary = "more"
settings = ["sampler.n_candidates=9", "pipeline.overlap=0.3"]
"""


@pytest.fixture
def model(toy_run: Any) -> Path:
    path = Path(toy_run.model)
    with (path / "model.toml").open("a") as file:
        file.write(PRESETS)
    return path


@pytest.fixture
def mix(toy_run: Any, toy_stems: Any) -> Path:
    path: Path = toy_run.write("mix.wav", toy_stems["drums"])
    return path


def config(toy_run: Any) -> dict[str, Any]:
    report = json.loads((toy_run.results / "mix" / "lqsep.json").read_text())
    found: dict[str, Any] = report["config"]
    return found


@pytest.mark.parametrize(
    ("flags", "n_candidates", "overlap"),
    [
        (("--preset", "fast"), 2, 0.4),
        # Other flags come on top.
        (("--preset", "fast", "--candidates", "3"), 3, 0.4),
        (("--preset", "fast", "-p", "sampler.n_candidates=4"), 4, 0.4),
    ],
)
def test_a_preset(
    toy_run: Any, model: Path, mix: Path, flags: tuple[str, ...], n_candidates: int, overlap: float
) -> None:
    toy_run(mix, *flags)
    found = config(toy_run)
    assert found["sampler"]["n_candidates"] == n_candidates
    assert found["pipeline"]["overlap"] == overlap


def test_default_is_the_model_as_it_is(toy_run: Any, model: Path, mix: Path) -> None:
    toy_run(mix)
    before = config(toy_run)
    toy_run(mix, "--preset", "default", "--overwrite")
    assert config(toy_run) == before
    assert before["sampler"]["n_candidates"] not in (2, 9)


def test_from_python(model: Path) -> None:
    separator = Separator.from_pretrained(model, preset="best")
    assert separator.config["sampler"]["n_candidates"] == 9
    assert separator.config["pipeline"]["overlap"] == 0.3
    with pytest.raises(ConfigError, match="no preset 'bes'. did you mean 'best'"):
        Separator.from_pretrained(model, preset="bes")


def test_mistakes(toy_run: Any, model: Path, mix: Path) -> None:
    toy_run(mix, "--preset", "quick", code=2)
    assert "no preset 'quick'; presets: default, fast, best" in toy_run.stderr
    path = model / "model.toml"
    text = path.read_text()
    path.write_text(
        text.replace(
            'settings = ["sampler.n_candidates=2", "pipeline.overlap=0.4"]', "settings = 3"
        )
    )
    for flags in (("--preset", "fast"), ()):
        toy_run(mix, *flags, code=2)
        assert "presets.fast.settings" in toy_run.stderr
        assert toy_run.stderr.count("\n") == 1
