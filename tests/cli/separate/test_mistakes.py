"""``lqsep separate`` and its neighbours: mistakes of the user are one line, never a traceback."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from lqsep.cli.main import run
from lqsep.cli.pipeline.changes import read_pipeline
from lqsep.cli.separate.inputs import find_inputs
from lqsep.core.audio.files import audio_info, write_audio
from lqsep.core.components.changes import PipelineChanges
from lqsep.core.components.registry import Registry
from lqsep.core.errors import AudioError, CheckpointError, ConfigError
from lqsep.core.store.model_directory import (
    declared_hashes,
    find_config,
    shipped_models,
    update_model_toml,
)


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
    with without_privileges(lqsep.folder), ExitStack() as pipes:
        found = find_inputs(inputs, skip=Path("out"), pipes=pipes)
    assert [file.path for file in found.files] == [Path("folder/mix2.wav"), Path("mix.wav")]
    assert found.failures == [
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
    for flags in ((), ("--skip-existing",), ("--clip-mode", "rescale")):
        template = f"{TOO_LONG}{{stem}}.{{ext}}"
        lqsep("separate", mix, "-n", toy_model, "--filename", template, *flags, code=1)
        assert lqsep.stderr.count("\n") == 2
        assert "File name too long" in lqsep.stderr


def test_the_longest_names_of_stems_are_written(lqsep: Lqsep, mix: Path, toy_model: Path) -> None:
    """An unfinished file needs no longer one."""
    template = f"{'x' * (255 - len('drums.wav'))}{{stem}}.{{ext}}"
    lqsep("separate", mix, "-n", toy_model, "--filename", template)


def test_names_of_models_that_are_no_paths(lqsep: Lqsep, mix: Path) -> None:
    lqsep.fails("separate", mix, "-n", TOO_LONG, code=3, says="File name too long")
    lqsep.fails("models", "show", "", code=3, says="must not be empty")


@pytest.mark.parametrize(
    "arguments", [("",), ("mix.wav", ""), ("mix.wav", "-o", ""), ("mix.wav", "-n", "")]
)
def test_nothing_may_be_empty(lqsep: Lqsep, mix: Path, arguments: tuple[str, ...]) -> None:
    lqsep.fails("separate", *arguments, code=2, says="must not be empty")
    assert list(lqsep.folder.iterdir()) == [mix]


# Configurations with something else where a table is expected


def change(model: Path, *pairs: tuple[str, str], top: str = "") -> None:
    """Replace text of the model's configuration; ``top`` comes before its first table."""
    path = model / "model.toml"
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(f"{top}\n{text}")


@pytest.mark.parametrize(
    ("top", "flags", "says"),
    [
        ('refiners = { type = "wiener" }', ("--refiner", "wiener"), "use [[refiners]]"),
        ('refiners = { type = "wiener" }', (), "use [[refiners]]"),
        ("refiners = [1]", ("--refiner", "wiener"), "use [[refiners]]"),
        ("refiners = [1]", (), "refiners.0: expected a table with a 'type', got 1\n"),
        ("pipeline = 3", ("--segment", 1), "expected a table [pipeline], got 3"),
        ("pipeline = 3", ("--overlap", 0), "expected a table [pipeline], got 3"),
    ],
)
def test_something_else_than_a_table(
    lqsep: Lqsep, mix: Path, toy_model: Path, top: str, flags: tuple[str, ...], says: str
) -> None:
    change(toy_model, ("[pipeline]\nsegment = 0.1\n", ""), top=top)
    lqsep.fails("separate", mix, "-n", toy_model, *flags, code=2, says=says)
    assert str(toy_model) in lqsep.stderr


@pytest.mark.parametrize("command", ["verify", "show", "list"])
def test_a_model_table_that_is_none(
    lqsep: Lqsep, tiny_model: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny_model / "model.toml").write_text("model = 3\n")
    monkeypatch.setattr(
        "lqsep.core.store.model_directory.shipped_models", lambda: {"tiny": tiny_model}
    )
    name = () if command == "list" else (tiny_model,)
    says = f"{tiny_model}/model.toml: expected a table [model], got 3"
    lqsep.fails("models", command, *name, code=2, says=says)


def test_a_files_table_of_numbers_is_named_with_its_file(
    lqsep: Lqsep, mix: Path, toy_model: Path
) -> None:
    change(toy_model, ('licence = "MIT"', 'licence = "MIT"\nfiles = { "a.safetensors" = 1 }'))
    path = toy_model / "model.toml"
    lqsep.fails("models", "verify", toy_model, code=2, says=f"{path}: [model.files] must map")
    lqsep.fails("separate", mix, "-n", toy_model, code=2, says=f"{path}: model: [model.files]")


def test_a_model_table_of_an_output_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text("model = 3\n")
    with pytest.raises(ConfigError, match=r"model\.toml: expected a table \[model\], got 3"):
        update_model_toml(tmp_path, changes={"model.metrics": {}})
    with pytest.raises(ConfigError, match=r"model\.toml: expected a table \[model\], got 3"):
        declared_hashes(tmp_path / "model.toml")


def test_a_component_by_its_full_name_keeps_its_settings(
    lqsep: Lqsep, mix: Path, toy_model: Path
) -> None:
    top = '[[refiners]]\ntype = "wiener"\nexponent = 1.5\n'
    change(toy_model, ('type = "adding"', 'type = "adding"\nsigma = 0.002'), top="")
    change(toy_model, ('[codec]\ntype = "adding"\nsigma = 0.002', '[codec]\ntype = "adding"'))
    change(toy_model, ("[pipeline]", f"{top}\n[pipeline]"))
    changes = PipelineChanges(
        components={"likelihood": "lqsep-toys:adding", "sampler": "lqsep:ancestral"},
        priors=[("drums", "lqsep-toys:markov")],
        refiners=["lqsep:wiener"],
    )
    data = read_pipeline(toy_model, changes, Registry.discover()).data
    assert data["likelihood"] == {"type": "adding", "sigma": 0.002}
    assert data["sampler"]["n_candidates"] == 4
    assert data["sources"]["drums"]["prior"] == {"type": "markov", "seed": 1}
    assert data["refiners"] == [{"type": "wiener", "exponent": 1.5}]
    other = PipelineChanges(components={"sampler": "beam", "likelihood": "nobody:adding"})
    data = read_pipeline(toy_model, other, Registry.discover()).data
    assert data["sampler"] == {"type": "beam"}
    assert data["likelihood"] == {"type": "nobody:adding"}


# Numbers


@pytest.mark.parametrize("flag", ["--start", "--duration", "--segment"])
def test_times_beyond_all_recordings(lqsep: Lqsep, mix: Path, toy_model: Path, flag: str) -> None:
    lqsep.fails("separate", mix, "-n", toy_model, flag, "1e308", code=2, says="more than 10000000")
    setting = "pipeline.segment=1e308"
    lqsep.fails("separate", mix, "-n", toy_model, "-p", setting, code=2, says="pipeline.segment")


# What went wrong with one input


def test_debug_shows_the_traceback_of_a_failed_input(
    lqsep: Lqsep, mix: Path, toy_model: Path
) -> None:
    Path("text.wav").write_text("no audio")
    loud = Path("loud.wav")
    write_audio(loud, np.full((1, 400), 0.95, np.float32), 8000)
    command = ("separate", "-n", toy_model, "-p", "codec.when_loud=starve", "text.wav", loud)
    lqsep(*command, code=1)
    assert "Traceback" not in lqsep.stderr
    lqsep(*command, "--debug", code=1)
    assert lqsep.stderr.count("EmptySupportError: no joint code") == 1
    assert lqsep.stderr.count("AudioError: cannot read text.wav") == 1


def test_a_device_without_memory_fails_that_track_alone(
    lqsep: Lqsep, mix: Path, toy_model: Path
) -> None:
    loud = Path("loud.wav")
    write_audio(loud, np.full((1, 400), 0.95, np.float32), 8000)
    lqsep("separate", "-n", toy_model, "-p", "codec.when_loud=exhaust", loud, mix, "-q", code=1)
    assert "Traceback" not in lqsep.stderr
    error, summary = lqsep.stderr.splitlines()
    assert "out of memory" in error
    assert "--candidates" in error
    assert "--segment" in error
    assert summary.endswith("1 of 2 inputs failed: loud.wav")
    assert Path("separated/toy/mix/drums.wav").is_file()
