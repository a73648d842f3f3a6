"""``lqsep train`` for every kind of component: likelihoods of ours, selectors of anybody."""

import json
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from lqsep import Registry, load_model
from lqsep.cli.main import run
from lqsep.cli.train.command import train as train_group
from lqsep.core.components.assemble import build
from lqsep.core.components.config import TrainTables
from lqsep.core.components.overrides import read_toml
from lqsep.core.components.spec import Kind
from lqsep.core.store.model_directory import update_model_toml, verify_model
from lqsep.core.store.weights import file_hash, load_weights
from lqsep.plugins.codebook_sum.table import build_sum_table, load_table
from lqsep.plugins.counts.store import load_counts
from lqsep.plugins.gaussian_sum.calibration import load_calibration
from lqsep.testing.models import TINY, make_tiny_model

Train = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trained_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("trained") / "tiny")


@pytest.fixture
def model(trained_files: Path, tmp_path: Path) -> Path:
    """A model directory with a trained codec."""
    return Path(shutil.copytree(trained_files, tmp_path / "model"))


@pytest.fixture
def train(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> Train:
    """Trains a kind of the tiny pipeline with some tables replaced: exit code, stdout, stderr."""

    def call(kind: str, changes: dict[str, Any], *arguments: str) -> tuple[int, str, str]:
        recipe = {**TINY, **changes}
        path = tmp_path / "recipe.toml"
        path.write_text(tomli_w.dumps({key: value for key, value in recipe.items() if value}))
        capsys.readouterr()
        arguments = ("--config", str(path), "-o", str(model), "-d", "cpu", *arguments)
        code = run(["train", kind, *arguments])
        return code, *capsys.readouterr()

    return call


def one_line(stderr: str) -> str:
    (line,) = [line for line in stderr.splitlines() if line.startswith("lqsep: error: ")]
    assert "Traceback" not in stderr
    return line


def test_the_commands_are_the_tables_of_train() -> None:
    assert train_group.own_names() == list(TrainTables.model_fields)


@pytest.mark.parametrize("name", ["codebook-sum", "delta"])
def test_the_table_of_sums_needs_no_data(train: Train, model: Path, name: str) -> None:
    code, out, err = train("likelihood", {"likelihood": {"type": name}, "data": None})
    assert (code, out) == (0, f"{model / 'sums.safetensors'}\n"), err
    assert "likelihood: step 64 of 64" in err
    stored = load_table(model / "sums.safetensors")
    codebook = load_model(model).codec.embed(torch.arange(8)[None])[0]
    assert torch.equal(stored.table, build_sum_table(codebook, (0.5, 0.5)))
    described = read_toml(model / "model.toml")
    assert described["likelihood"]["table"] == "sums.safetensors"
    assert described["likelihood"]["type"] == name
    assert "sums.safetensors" in verify_model(model)
    assert described["model"]["recipe"]["train"]["likelihood"] == {"seed": 0}


def test_data_that_is_not_there_is_no_matter_where_none_is_needed(train: Train) -> None:
    data = {"train": {"type": "track-folders", "root": "nowhere"}}
    assert train("likelihood", {"data": data})[0] == 0
    code, _, err = train("codec", {"data": data})
    assert code == 2 and "nowhere" in one_line(err)


def test_the_calibration_is_measured_on_the_validation_data(train: Train, model: Path) -> None:
    changes = {
        "likelihood": {"type": "gaussian-sum", "temperature": 2.0},
        "train": {"likelihood": {"clips": 5, "clip_s": 0.16}},
    }
    code, out, err = train("likelihood", changes, "--seed", "3")
    path = model / "calibration.safetensors"
    # Five clips of 0.16 s at 8000 Hz and 64 samples per frame.
    assert (code, out) == (0, f"{path}: 100 frames\n"), err
    measured = load_calibration(path)
    assert measured.codec_fingerprint == load_model(model).codec.fingerprint
    described = read_toml(model / "model.toml")
    assert described["likelihood"] == {
        "type": "gaussian-sum",
        "temperature": 2.0,
        "calibration": "calibration.safetensors",
    }
    recipe = described["model"]["recipe"]["train"]["likelihood"]
    data = TINY["data"]
    assert recipe.pop("data")["train"]["n_tracks"] == data["train"]["n_tracks"]
    assert recipe == {"clips": 5, "clip_s": 0.16, "seed": 3}
    assert described["model"]["files"][path.name] == file_hash(path)
    # Other data for training change nothing, other data for validation do.
    changes["data"] = {**data, "train": {**data["train"], "seed": 9}}
    assert train("likelihood", changes, "--seed", "3")[0] == 0
    assert torch.equal(load_calibration(path).mean, measured.mean)
    changes["data"] = {**data, "validation": {**data["validation"], "seed": 9}}
    assert train("likelihood", changes, "--seed", "3")[0] == 0
    assert not torch.equal(load_calibration(path).mean, measured.mean)
    del changes["data"]["validation"]
    assert train("likelihood", changes, "--seed", "3")[0] == 0


def test_counts_are_of_clips_as_long_as_a_segment(train: Train, model: Path) -> None:
    def frames(**pipeline: float) -> int:
        changes = {
            "likelihood": {"type": "counts"},
            "train": {"likelihood": {"passes": 1}},
            "pipeline": pipeline,
        }
        code, out, err = train("likelihood", changes)
        assert code == 0 and "distinct triples in" in out, err
        assert "counts.safetensors" in verify_model(model)
        return load_counts(model / "counts.safetensors").n_frames

    # Two tracks of one second, 125 frames, each twice; parts of a frame at the ends of clips.
    assert frames() == 500
    assert 500 < frames(segment=0.1) < 600


def test_the_trained_likelihood_is_built(train: Train, model: Path) -> None:
    for name in ("gaussian-sum", "counts", "codebook-sum"):
        changes = {"likelihood": {"type": name}}
        if name == "gaussian-sum":
            changes["train"] = {"likelihood": {"clips": 2}}
        assert train("likelihood", changes)[0] == 0
        loaded = load_model(model)
        registered = Registry.discover().find(Kind.LIKELIHOOD, name)
        assert loaded.config.likelihood.type == name
        build(registered, loaded.config.likelihood, loaded.context)


@pytest.mark.parametrize(
    ("kind", "changes", "code", "message"),
    [
        ("likelihood", {"likelihood": {"type": "waveform"}}, 2, "'waveform' has no trainer"),
        ("selector", {}, 2, "selector 'mean' has no trainer: it cannot be trained"),
        ("refiner", {}, 2, "its refiners are 'wiener', 'consistency'; there is nothing to train"),
        ("refiner", {"refiners": None}, 2, "its refiners are none; there is nothing to train"),
        ("likelihood", {"train": {"likelihood": {"clips": 3}}}, 2, "train.likelihood: clips: unk"),
        ("likelihood", {"train": {"sampler": {}}}, 2, "train.sampler: unknown field"),
        (
            "likelihood",
            {"likelihood": {"type": "counts"}, "data": None},
            2,
            "training needs a [data.train] table",
        ),
        (
            "likelihood",
            {"likelihood": {"type": "counts", "counts": "theirs.npz"}},
            2,
            "'theirs.npz' is a file of LASS, which is only read",
        ),
        (
            "likelihood",
            {"likelihood": {"type": "counts", "counts": "../c.safetensors"}},
            2,
            "expected the plain name of a file in",
        ),
        (
            "likelihood",
            {"likelihood": {"type": "codebook-sum", "table": "../t.safetensors"}},
            2,
            "expected the plain name of a file in",
        ),
        (
            "likelihood",
            {"sources": {"drums": TINY["sources"]["drums"]}},
            2,
            "works on 2 sources, got 1",
        ),
    ],
)
def test_mistakes_are_one_line(
    train: Train, model: Path, kind: str, changes: dict[str, Any], code: int, message: str
) -> None:
    before = sorted(path.name for path in model.iterdir())
    found, out, err = train(kind, changes)
    assert (found, out) == (code, "")
    assert message in one_line(err)
    assert sorted(path.name for path in model.iterdir()) == before


def test_the_codec_comes_first(train: Train, model: Path) -> None:
    (model / "codec.safetensors").unlink()
    code, _, err = train("likelihood", {})
    assert code == 3
    assert "training a likelihood: the codec cannot be loaded" in one_line(err)
    assert "lqsep train codec" in one_line(err)


def test_a_dry_run_takes_steps(train: Train) -> None:
    code, _, err = train("likelihood", {}, "--dry-run")
    assert code == 2 and "the trainer for likelihood does not work in steps" in one_line(err)


# Components of others


PLUGIN = """
    from pydantic import BaseModel

    from lqsep import ComponentConfig, ComponentSpec, Kind, hookimpl


    class Config(ComponentConfig):
        type: str = "learned"
        checkpoint: str | None = None
        bias: float = 0.0


    class TrainConfig(BaseModel):
        fault: str = "none"


    @hookimpl
    def lqsep_components():
        for kind in (Kind.SELECTOR, Kind.REFINER):
            yield ComponentSpec(
                kind=kind, name="learned", config=Config, factory=f"learned_parts:build_{kind}",
                summary=f"A {kind} for this test", api_version=1,
                trainer="learned_parts:train", train_config=TrainConfig,
            )
"""

PARTS = """
    import torch

    from lqsep.core.components.trainers import Trained
    from lqsep.core.store.weights import save_weights


    def train(config, train_config, context):
        assert len(context.dataset) == 2 and context.codec is not None
        assert context.pipeline.selector.type and context.source is None
        if train_config.fault == "crash":
            raise ZeroDivisionError("a bug in a trainer")
        if train_config.fault == "rubbish":
            return ["weights"]
        if train_config.fault == "no file":
            return None
        metadata = {"validation/accuracy": "0.75"}
        save_weights(context.output_dir / config.checkpoint, {"w": torch.ones(2)}, metadata)
        if train_config.fault == "two files":
            save_weights(context.output_dir / "more.safetensors", {"w": torch.ones(1)}, {})
            config = config.model_copy(update={"bias": 1.5})
            files = (config.checkpoint, "more.safetensors")
            return Trained(config=config, files=files, summary="two files")
"""


@pytest.fixture
def learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution whose selector and refiner are trained."""
    folder = tmp_path / "site"
    info = folder / "learned-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: learned\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lqsep]\nlearned = learned_plugin\n")
    (folder / "learned_plugin.py").write_text(textwrap.dedent(PLUGIN))
    (folder / "learned_parts.py").write_text(textwrap.dedent(PARTS))
    for name in ("learned_plugin", "learned_parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.usefixtures("learned")
def test_a_selector_is_trained(train: Train, model: Path) -> None:
    path = model / "selector.safetensors"
    assert train("selector", {"selector": {"type": "learned"}})[:2] == (0, f"{path}\n")
    assert load_weights(path).tensors["w"].tolist() == [1, 1]
    described = read_toml(model / "model.toml")
    assert described["selector"] == {"type": "learned", "checkpoint": path.name, "bias": 0.0}
    assert described["model"]["files"][path.name] == file_hash(path)
    assert described["model"]["metrics"]["selector"] == {"accuracy": 0.75}


@pytest.mark.usefixtures("learned")
def test_a_refiner_is_trained_in_its_place(train: Train, model: Path) -> None:
    """The model's other refiners stay as they are there."""
    update_model_toml(model, changes={"refiners": [{"type": "wiener", "exponent": 1.5}]})
    refiners = [{"type": "wiener"}, {"type": "learned", "checkpoint": "mine.safetensors"}]
    changes = {"refiners": refiners, "train": {"refiner": {"fault": "two files"}}}
    code, out, err = train("refiner", changes)
    files = [model / "mine.safetensors", model / "more.safetensors"]
    assert (code, out) == (0, "".join(f"{file}: two files\n" for file in files)), err
    described = read_toml(model / "model.toml")
    assert [refiner["type"] for refiner in described["refiners"]] == ["wiener", "learned"]
    assert described["refiners"][1]["bias"] == 1.5
    assert {file.name for file in files} <= set(described["model"]["files"])
    described["refiners"][0]["exponent"] = 1.25
    update_model_toml(model, changes={"refiners": described["refiners"]})
    assert train("refiner", changes)[0] == 0
    assert read_toml(model / "model.toml")["refiners"][0]["exponent"] == 1.25


@pytest.mark.usefixtures("learned")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("crash", "training selector 'learned:learned' failed: ZeroDivisionError: a bug"),
        ("rubbish", "expected the trainer to return what it has written as a Trained"),
        ("no file", "the trainer for selector wrote no "),
    ],
)
def test_a_faulty_trainer_is_one_line(train: Train, model: Path, fault: str, message: str) -> None:
    before = (model / "model.toml").read_bytes()
    changes = {"selector": {"type": "learned"}, "train": {"selector": {"fault": fault}}}
    code, out, err = train("selector", changes)
    assert (code, out) == (2, "")
    assert message in one_line(err)
    assert (model / "model.toml").read_bytes() == before


def test_the_help_of_every_kind_has_the_same_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "prior", "--help"]) == 0
    assert "--source NAME" in capsys.readouterr().out
    for kind in TrainTables.model_fields:
        assert run(["train", kind, "--help"]) == 0
        out = capsys.readouterr().out
        for flag in ("--config", "--preset", "--output", "--set", "--resume", "--dry-run"):
            assert flag in out
        assert ("--source" in out) == (kind == "prior")


def test_what_is_trained_can_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["components", "show", "likelihood", "gaussian-sum"]) == 0
    out = capsys.readouterr().out
    assert "trainer: lqsep.plugins.gaussian_sum.train:train_calibration" in out
    assert "clip_s" in out
    assert json.dumps("diagonal") in out
