"""``lqsep train``: weights, model.toml, resuming, interruptions, mistakes."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from lqsep.cli.main import run
from lqsep.cli.train.presets import PRESETS, load_recipe
from lqsep.cli.train.progress import TrainingProgress
from lqsep.core.audio.files import write_audio
from lqsep.core.components.config import parse_settings
from lqsep.core.components.overrides import read_toml
from lqsep.core.components.registry import Registry
from lqsep.core.store.model_directory import load_model, verify_model
from lqsep.core.store.weights import file_hash, load_weights
from lqsep.core.training.events import (
    TrainEncoding,
    TrainFinished,
    TrainNote,
    TrainProgress,
    TrainStep,
    TrainValidation,
)
from lqsep.plugins.lqvae.train_config import LQVAETrainConfig
from lqsep.plugins.transformer.train_config import TransformerTrainConfig

PRIOR = '{ type = "transformer", width = 8, depth = 1, heads = 1, max_frames = 16, blocks = 4 }'
CONFIG = f"""
version = 1
[codec]
type = "lq-vae"
sample_rate = 2000
downs_t = [2]
strides_t = [4]
multipliers = [1]
width = 4
depth = 1
embedding_dim = 3
codebook_size = 8
level = 0.1
[sources.drums]
prior = {PRIOR}
[sources.bass]
prior = {PRIOR}
[likelihood]
type = "codebook-sum"
[sampler]
type = "ancestral"
[selector]
type = "mean"
[data.train]
type = "synthetic"
n_tracks = 2
duration_s = 1.0
sample_rate = 2000
[data.validation]
type = "synthetic"
n_tracks = 1
duration_s = 1.0
sample_rate = 2000
seed = 5
[train.codec]
steps = 20
batch_size = 2
clip_samples = 1104
validation_clips = 1
log_every = 1
validate_every = 10
checkpoint_every = 5
[train.prior]
steps = 4
batch_size = 2
validation_windows = 2
versions = 1
validate_every = 2
"""


class Train:
    """Runs ``lqsep train`` on a tiny configuration."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = folder / "recipe.toml"
        self.config.write_text(CONFIG)
        self.model = folder / "model"
        self._capsys = capsys
        self.stdout = self.stderr = ""

    def arguments(self, *arguments: object, model: Path | None = None) -> list[str]:
        what, *rest = map(str, arguments)
        output = str(model or self.model)
        return ["train", what, "--config", str(self.config), "-o", output, "-d", "cpu", *rest]

    def __call__(self, *arguments: object, code: int = 0, model: Path | None = None) -> "Train":
        self._capsys.readouterr()
        found = run(self.arguments(*arguments, model=model))
        self.stdout, self.stderr = self._capsys.readouterr()
        assert found == code, self.stderr
        return self

    def fail(self, *arguments: object, code: int) -> str:
        """What the user reads: one line."""
        self(*arguments, code=code)
        error = [line for line in self.stderr.splitlines() if line.startswith("lqsep: error: ")]
        assert len(error) == 1 and "Traceback" not in self.stderr, self.stderr
        return error[0]

    def start(self, *arguments: object, model: Path) -> "subprocess.Popen[str]":
        """The command in a process of its own, after its first checkpoint."""
        command = [sys.executable, "-m", "lqsep", *self.arguments(*arguments, model=model)]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            # A process started in the background may have SIGINT ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        deadline = time.monotonic() + 600
        while not list((model / "checkpoints").glob("codec/step-*.pt")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        return process


@pytest.fixture
def train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Train:
    return Train(tmp_path, capsys)


def log(model: Path, name: str) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (model / "logs" / f"{name}.jsonl").read_text().splitlines()
    ]


def test_a_model_from_nothing(train: Train) -> None:
    train("codec")
    assert train.stdout == f"{train.model / 'codec.safetensors'}\n"
    first = train.stderr
    train("prior", "--source", "bass")
    assert train.stdout == f"{train.model / 'prior.bass.safetensors'}\n"
    assert not (train.model / "prior.drums.safetensors").exists()
    train("prior")
    assert len(train.stdout.splitlines()) == 2
    assert "codec: step 20 of 20, loss " in first and "sum_agreement" in first
    model = load_model(train.model)
    assert list(model.priors) == ["drums", "bass"]
    assert model.codec.info.hop_length == 16 and model.codec.info.level == 0.1


def test_model_toml_tells_what_was_done(train: Train) -> None:
    train("codec", "-p", "train.codec.steps=6", "--seed", "3")
    train("prior", "-p", "train.prior.batch_size=3")
    data = read_toml(train.model / "model.toml")
    assert sorted(verify_model(train.model)) == [
        "codec.safetensors",
        "prior.bass.safetensors",
        "prior.drums.safetensors",
    ]
    assert data["codec"]["checkpoint"] == "codec.safetensors"
    assert data["sources"]["drums"]["prior"]["checkpoint"] == "prior.drums.safetensors"
    assert "data" not in data and "train" not in data
    recipe = data["model"]["recipe"]
    assert recipe["train"]["codec"]["data"]["train"]["n_tracks"] == 2
    assert recipe["train"]["prior"]["data"] == recipe["train"]["codec"]["data"]
    assert (recipe["train"]["codec"]["steps"], recipe["train"]["codec"]["seed"]) == (6, 3)
    assert recipe["train"]["prior"]["batch_size"] == 3
    metrics = data["model"]["metrics"]
    assert 0 <= metrics["codec"]["sum_agreement"] <= 1
    assert metrics["sources"]["bass"]["prior"]["bits"] > 0


def test_training_again_updates_model_toml(train: Train) -> None:
    train("codec", "-p", "train.codec.steps=2")
    before = file_hash(train.model / "codec.safetensors")
    train("codec", "-p", "train.codec.steps=2", "-p", "codec.width=6")
    data = read_toml(train.model / "model.toml")
    found = data["model"]["files"]["codec.safetensors"]
    assert found == file_hash(train.model / "codec.safetensors") != before
    assert data["codec"]["width"] == 6


def test_nothing_of_another_model_is_inherited(train: Train) -> None:
    train("codec", "-p", "train.codec.steps=2")
    train("prior", "-p", "train.prior.steps=2")
    path = train.model / "model.toml"
    # As in a copy of a shipped model: facts of the whole, and one data set for all parts.
    data = read_toml(path)
    parts = data["model"]["recipe"]["train"]
    common = {"train": {"type": "elsewhere"}}
    for part in parts.values():
        del part["data"]
    data["model"] |= {"licence": "MIT", "version": "0.1", "measured": {"seconds_per_second": 0.4}}
    data["model"]["recipe"] |= {"data": common, "config": "elsewhere.toml"}
    data["model"]["metrics"]["test_sdr_db"] = {"drums": 8.0}
    path.write_text(tomli_w.dumps(data))
    train("prior", "-p", "train.prior.steps=3")
    described = read_toml(path)["model"]
    assert described.keys() == {"files", "recipe", "metrics"}
    assert described["metrics"].keys() == {"codec", "sources"}
    assert described["recipe"].keys() == {"train"}
    codec, prior = (described["recipe"]["train"][kind] for kind in ("codec", "prior"))
    assert codec["data"] == common and codec["steps"] == 2
    assert prior["data"] != common and prior["steps"] == 3
    # Nor by a configuration that is the file of a model.
    other = train.model.with_name("other")
    train.config.write_text(CONFIG + '[model]\nlicence = "MIT"\n[model.metrics]\nx = 1\n')
    train("codec", "-p", "train.codec.steps=2", model=other)
    assert "licence" not in read_toml(other / "model.toml")["model"]
    assert "x" not in read_toml(other / "model.toml")["model"]["metrics"]


@pytest.mark.slow
def test_killed_and_resumed_is_as_never_killed(train: Train, tmp_path: Path) -> None:
    # Enough steps that the process cannot end before it is killed.
    settings = ["-p", "train.codec.steps=80"]
    train("codec", *settings)
    killed = tmp_path / "killed"
    process = train.start("codec", *settings, model=killed)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "codec.safetensors").exists()
    train("codec", *settings, "--resume", model=killed)
    # Exact on a CPU with one thread or any other fixed number.
    whole, parts = (load_weights(m / "codec.safetensors") for m in (train.model, killed))
    assert all(whole.tensors[name].equal(parts.tensors[name]) for name in whole.tensors)
    assert log(train.model, "codec") == log(killed, "codec")


@pytest.mark.slow
def test_ctrl_c_keeps_a_checkpoint(train: Train, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    process = train.start("codec", "-p", "train.codec.steps=100000", model=stopped)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "lqsep: interrupted" in stderr and "Traceback" not in stderr
    done = log(stopped, "codec")[-1]["step"]
    train("codec", "-p", f"train.codec.steps={done + 2}", "--resume", model=stopped)
    steps = [line["step"] for line in log(stopped, "codec") if "loss" in line]
    assert steps == list(range(1, done + 3))
    found = sorted(path.name for path in (stopped / "checkpoints" / "codec").glob("step-*"))
    assert len(found) == 2 and found[1] == f"step-{done + 2:08d}.pt"


def test_a_diverging_run_is_one_line(train: Train) -> None:
    spoilt = ["-p", "train.codec.learning_rate=1e18", "-p", "train.codec.warmup_steps=0"]
    error = train.fail("codec", *spoilt, code=1)
    assert "training 'codec' stopped at step" in error
    assert not (train.model / "model.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["codec", "-p", "train.codec.stepz=3"], 2, "train.codec: stepz: unknown field"),
        (["codec", "-p", "train.codec.steps=0"], 2, "train.codec: steps: "),
        (["codec", "-p", "codec.type=lqvae"], 2, "lq-vae"),
        (["codec", "-d", "cuda:99"], 2, "cuda:99"),
        (["prior"], 3, "lqsep train codec"),
        (["prior", "--source", "base"], 2, "did you mean 'bass'"),
        (["codec", "-p", 'data.train.sources=["drums"]'], 2, "data.train: expected tracks with"),
        (["codec", "-p", "data.train.type=track-folders"], 1, "data set: no audio files found"),
        (["codec", "-p", "data.train.n_track=3"], 2, "data.train"),
        (
            ["codec", "-p", "codec.checkpoint=../a.safetensors"],
            2,
            "codec.checkpoint: expected the ",
        ),
        (["codec", "-p", "codec.checkpoint=a/b.safetensors"], 2, "codec.checkpoint: expected the "),
        (["codec", "-p", "codec.checkpoint=model.toml"], 2, "codec.checkpoint: expected the plain"),
        (
            ["prior", "-p", "sources.bass.prior.checkpoint=../b.safetensors"],
            2,
            "sources.bass.prior.checkpoint: expected the plain name",
        ),
        (
            ["prior", "-p", "sources.bass.prior.checkpoint=prior.drums.safetensors"],
            2,
            "sources.bass.prior.checkpoint: sources.drums.prior writes 'prior.drums.safetensors'",
        ),
    ],
)
def test_mistakes_are_one_line(train: Train, arguments: list[str], code: int, message: str) -> None:
    assert message in train.fail(*arguments, code=code)


def test_training_needs_data(train: Train) -> None:
    text = train.config.read_text()
    start, end = text.index("[data.train]"), text.index("[train.codec]")
    train.config.write_text(text[:start] + text[end:])
    assert "needs a [data.train] table" in train.fail("codec", code=2)


def test_output_that_cannot_be_written(train: Train) -> None:
    train.model.write_text("a file")
    train.model = train.model / "below"
    assert "cannot write to" in train.fail("codec", code=2)


@pytest.mark.parametrize("folder", ["/proc", "/proc/below", "{config}/below"])
def test_output_that_cannot_be_written_is_told_before_any_work(train: Train, folder: str) -> None:
    if folder.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("no folder that refuses everybody")
    text = train.config.read_text().replace("synthetic", "no-such-data")
    other = train.config.with_name("other.toml")
    train.config.rename(other)
    train.config.write_text(text)
    train.model = Path(folder.format(config=other))
    before = sorted(train.config.parent.iterdir())
    error = train.fail("codec", code=2)
    assert f"cannot write to {train.model}: " in error and "--output" in error
    assert sorted(train.config.parent.iterdir()) == before


def test_priors_refuse_a_codec_that_was_changed(train: Train) -> None:
    train("codec", "-p", "train.codec.steps=2")
    path = train.model / "codec.safetensors"
    path.write_bytes(path.read_bytes() + b"0")
    assert "expected sha256" in train.fail("prior", code=3)


def test_the_presets_are_found() -> None:
    assert PRESETS == ("reference", "small", "tiny")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name: str) -> None:
    registry = Registry.discover()
    config = load_recipe(None, name, registry, ["data.train.root=elsewhere"])
    assert config.data is not None and config.base_dir == Path(".")
    assert config.data.train.model_dump()["root"] == "elsewhere"
    parse_settings(LQVAETrainConfig, config.train.codec, "train.codec")
    settings = parse_settings(TransformerTrainConfig, config.train.prior, "train.prior")
    codec = config.codec.model_dump()
    hop = math.prod(s**d for s, d in zip(codec["strides_t"], codec["downs_t"], strict=True))
    for source in config.sources.values():
        # Tracks that are left in are as long as the context.
        context_s = source.prior.model_dump()["max_frames"] * hop / codec["sample_rate"]
        assert context_s <= settings.min_duration


def test_the_reference_preset_has_the_published_sizes() -> None:
    config = load_recipe(None, "reference", Registry.discover(), [])
    assert config.codec.model_dump(exclude_defaults=True, exclude={"type", "checkpoint"}) == {}
    prior = config.sources["bass"].prior.model_dump()
    sizes = {"width": 1024, "depth": 48, "heads": 1, "max_frames": 8192, "blocks": 64}
    assert {key: prior[key] for key in sizes} == sizes


def test_a_preset_is_trained(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "validation"):
        folder = tmp_path / "data" / split / "track"
        folder.mkdir(parents=True)
        for seed, source in enumerate(("drums", "bass")):
            noise = np.random.default_rng(seed).normal(size=(1, 32000)) * 0.1
            write_audio(folder / f"{source}.wav", noise.astype(np.float32), 8000)
    shorter = ["-p", "train.codec.steps=1", "-p", "train.codec.validation_clips=1"]
    for arguments in (["codec", *shorter], ["prior", "-p", "train.prior.steps=1"]):
        assert run(["train", *arguments, "--preset", "tiny", "-o", "model", "-d", "cpu"]) == 0
    assert load_model(tmp_path / "model").codec.info.sample_rate == 8000


def test_config_or_preset(train: Train) -> None:
    assert "either --config FILE or --preset" in train.fail("codec", "--preset", "tiny", code=2)


def test_dry_run(train: Train) -> None:
    train("codec", "--dry-run", "-p", "train.codec.steps=20000")
    assert not train.model.exists()
    assert train.stdout.startswith("codec: 20000 steps of ")
    assert re.search(r"take about [\d.]+ (s|min|h); memory at most [\d.]+ [MG]B", train.stdout)
    train("codec", "-p", "train.codec.steps=2")
    before = sorted(path.name for path in train.model.rglob("*"))
    tracks = "data.train.n_tracks=50"  # only two are encoded
    train("prior", "--source", "bass", "--dry-run", "-p", "train.prior.max_minutes=1", "-p", tracks)
    assert train.stdout.startswith("sources.bass.prior: 4 steps of ")
    assert re.search(r"encoding the data before \d+ s; memory", train.stdout)
    assert "codes.bass.train: sequence" in train.stderr
    assert sorted(path.name for path in train.model.rglob("*")) == before


def test_a_dry_run_where_nobody_counts_memory(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    train("codec", "--dry-run")
    assert "; how much memory is not known on this system; a checkpoint takes " in train.stdout


def test_a_dry_run_takes_steps(train: Train) -> None:
    codec = '{ type = "spectral-vq", sample_rate = 2000 }'
    error = train.fail("codec", "--dry-run", "-p", f"codec={codec}", code=2)
    assert "codec" in error


def test_unreadable_data(train: Train, tmp_path: Path) -> None:
    for index in range(4):
        folder = tmp_path / "data" / f"track-{index}"
        folder.mkdir(parents=True)
        for source in ("drums", "bass"):
            noise = np.random.default_rng(index).normal(size=(1, 4000)) * 0.1
            write_audio(folder / f"{source}.wav", noise.astype(np.float32), 2000)
    (tmp_path / "data" / "track-2" / "bass.wav").write_bytes(b"RIFF")
    data = [f'data.train={{ type = "track-folders", root = "{tmp_path}/data" }}']
    assert "max_unreadable" in train.fail("codec", "-p", *data, code=1)
    train("codec", "-p", *data, "-p", "train.codec.max_unreadable=0.25")
    assert "left out, unreadable (1): " in train.stderr and "track-2" in train.stderr


def step(number: int = 5, eta_s: float = 3725.0, name: str = "codec") -> TrainStep:
    return TrainStep(name, TrainProgress(number, 10, number / 10, 2.0, eta_s), 1.5, {"bits": 3.0})


def test_progress_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress(terminal=False, quiet=False) as progress:
        for number in range(5, 10):
            progress.report(step(number))
        progress.report(step(10, eta_s=65.0))
        progress.report(TrainNote("a note"))
        progress.report(TrainValidation("codec", {"sdr": 1.23456}, 10))
        progress.report(TrainValidation("prior.bass", {"bits": 2.0, "unigram_bits": 3.0}))
        rates = {"audio_s": 23.82, "notes": 12.0}
        progress.report(TrainFinished("codec", 10, 3.21, 2.0, rates))
        progress.report(TrainFinished("b", 1, 1, 2.0, figures={"x": 2.0}))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "codec: step 5 of 10, loss 1.5, 2.00 steps/s, about 1 h 2 min left",
        "codec: step 10 of 10, loss 1.5, 2.00 steps/s, about 1 min 5 s left",
        "a note",
        "codec: step 10: sdr 1.235",
        "prior.bass: bits 2, unigram_bits 3",
        "codec: done, 10 steps in 3.21 minutes, 2.00 steps/s, 23.82 s of audio/s, 12 notes/s",
        "b: done, 1 steps in 1 minutes, 2.00 steps/s; x 2",
    ]


def test_encoding_and_steps_without_a_loss_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    for event in (
        TrainEncoding("codes.bass.train", TrainProgress(3, 9, 1 / 3, 2.0, 3.0)),
        TrainStep("sums", TrainProgress(3, 9, 1 / 3, 2.0, 3.0)),
        TrainStep("sums", TrainProgress.since(begun, 3, 9, before=3)),
    ):
        TrainingProgress(terminal=False, quiet=False).report(event)
    assert capsys.readouterr().err.splitlines() == [
        "codes.bass.train: sequence 3 of 9, about 3 s left",
        "sums: step 3 of 9, 2.00 steps/s, about 3 s left",
        "sums: step 3 of 9, 0.00 steps/s, how long it takes is not known yet",
    ]


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"an event of lqsep\.core\.training\.events: \{'loss': 1\}"
    ):
        TrainingProgress(terminal=False, quiet=True).report({"loss": 1})  # type: ignore[arg-type]


def test_progress_as_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress(terminal=True, quiet=False) as progress:
        progress.report(step())
        progress.report(TrainNote("a note"))
        progress.report(step(name="prior.bass", eta_s=9.0))
    out, err = capsys.readouterr()
    assert out == ""
    assert "a note" in err and "about 9 s left" in err and "50%" in err


def test_quiet_shows_nothing(train: Train) -> None:
    train("codec", "-q", "-p", "train.codec.steps=2")
    assert train.stderr == ""
