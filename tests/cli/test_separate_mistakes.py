"""``lqsep separate`` and its neighbours: mistakes of the user are one line, never a traceback."""

from pathlib import Path

import numpy as np
import pytest

from lqsep.cli.main import run
from lqsep.core.audio import write_audio


class Lqsep:
    """Runs ``lqsep`` in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.stdout = self.stderr = ""

    def __call__(self, *arguments: object, code: int = 0) -> "Lqsep":
        self._capsys.readouterr()
        found = run([str(argument) for argument in arguments])
        self.stdout, self.stderr = self._capsys.readouterr()
        assert found == code, self.stderr
        return self

    def fails(self, *arguments: object, code: int, says: str) -> None:
        """Exits with the code, and the words stand in the single line on stderr."""
        self(*arguments, code=code)
        assert self.stderr.count("\n") == 1, self.stderr
        assert says.lower() in self.stderr.lower()


@pytest.fixture
def lqsep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Lqsep:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Lqsep(folder, capsys)


@pytest.fixture
def mix(lqsep: Lqsep) -> Path:
    path = lqsep.folder / "mix.wav"
    levels = np.array([0.0, 0.08, 0.28], np.float32)
    write_audio(path, levels[np.arange(100) % 3].repeat(4)[None], 8000)
    return path


# --config


def test_config_is_the_file_and_never_a_model_of_that_name(lqsep: Lqsep, mix: Path) -> None:
    Path("drums-bass").write_text("x = 1\n")
    lqsep.fails("separate", mix, "--config", "drums-bass", code=2, says="x: unknown field")
    lqsep.fails("config", "check", "drums-bass", code=2, says="x: unknown field")
    lqsep.fails("config", "show", "drums-bass", code=2, says="x: unknown field")


def test_config_may_have_any_ending(lqsep: Lqsep, mix: Path, toy_model: Path) -> None:
    Path("tiny.conf").write_text((toy_model / "model.toml").read_text())
    lqsep("separate", mix, "--config", "tiny.conf")
    assert Path("separated/tiny/mix/drums.wav").is_file()


def test_config_that_is_not_toml_is_named(lqsep: Lqsep, mix: Path) -> None:
    Path("tiny.conf").write_text("[[[")
    lqsep.fails("separate", mix, "--config", "tiny.conf", code=2, says="tiny.conf is not a valid")
