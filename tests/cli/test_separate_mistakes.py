"""``lqsep separate`` and its neighbours: mistakes of the user are one line, never a traceback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from lqsep.cli.inputs import find_inputs
from lqsep.cli.main import run
from lqsep.core.audio import audio_info, write_audio
from lqsep.core.errors import AudioError, CheckpointError
from lqsep.core.model_directory import find_config, shipped_models


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


# Paths that may not be read, or are no paths


TOO_LONG = "x" * 300


@contextmanager
def without_privileges(folder: Path) -> Iterator[None]:
    """Permissions apply in here, even where root runs the tests; relative paths only."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, -1, follow_symlinks=False)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folders_and_files_that_are_closed_say_so(lqsep: Lqsep, mix: Path) -> None:
    for name in ("closed", "folder/closed"):
        Path(name).mkdir(parents=True)
        Path(name).chmod(0)
    Path("folder/mix2.wav").touch()
    inputs = ["closed/a.wav", "closed", "folder", "mix.wav"]
    with without_privileges(lqsep.folder):
        files, failures = find_inputs(inputs, ["wav"], skip=Path("out"))
    assert files == [Path("folder/mix2.wav"), Path("mix.wav")]
    assert failures == [
        ("closed/a.wav", "cannot read closed/a.wav: Permission denied"),
        ("closed", "cannot list folder closed: Permission denied"),
        ("folder", "cannot list folder folder/closed: Permission denied"),
    ]
    mix.chmod(0)
    with (
        without_privileges(lqsep.folder),
        pytest.raises(AudioError, match=r"cannot read mix\.wav: Permission denied"),
    ):
        audio_info("mix.wav")


def test_a_model_that_is_closed_says_so(lqsep: Lqsep) -> None:
    shipped_models()  # imports what they need
    Path("model").mkdir(mode=0)
    with (
        without_privileges(lqsep.folder),
        pytest.raises(CheckpointError, match="cannot read model: Permission denied"),
    ):
        find_config("model")


def test_inputs_that_are_no_paths_fail_alone(lqsep: Lqsep, mix: Path, toy_model: Path) -> None:
    Path("loop.wav").symlink_to("loop.wav")
    lqsep("separate", "-n", toy_model, "-q", TOO_LONG, "loop.wav", mix, code=1)
    for message in (
        f"cannot read {TOO_LONG}: File name too long",
        "cannot read loop.wav: ",
        "2 of 3 inputs failed",
    ):
        assert f"error: {message}" in lqsep.stderr
    assert lqsep.stderr.count("\n") == 3
    assert Path("separated/toy/mix/drums.wav").is_file()


def test_names_of_stems_that_are_too_long_fail_in_one_line(
    lqsep: Lqsep, mix: Path, toy_model: Path
) -> None:
    # The second fits, but not with the marks of an unfinished file.
    for template in (f"{TOO_LONG}{{stem}}.{{ext}}", f"{'x' * 240}{{stem}}.{{ext}}"):
        for flags in ((), ("--skip-existing",), ("--clip-mode", "rescale")):
            lqsep("separate", mix, "-n", toy_model, "--filename", template, *flags, code=1)
            assert lqsep.stderr.count("\n") == 2
            assert "File name too long" in lqsep.stderr


def test_names_of_models_that_are_no_paths(lqsep: Lqsep, mix: Path) -> None:
    lqsep.fails("separate", mix, "-n", TOO_LONG, code=3, says="File name too long")
    lqsep.fails("models", "show", "", code=3, says="must not be empty")


@pytest.mark.parametrize(
    "arguments", [("",), ("mix.wav", ""), ("mix.wav", "-o", ""), ("mix.wav", "-n", "")]
)
def test_nothing_may_be_empty(lqsep: Lqsep, mix: Path, arguments: tuple[str, ...]) -> None:
    lqsep.fails("separate", *arguments, code=2, says="must not be empty")
    assert list(lqsep.folder.iterdir()) == [mix]
