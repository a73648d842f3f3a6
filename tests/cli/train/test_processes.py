"""``lqsep train`` in one process and in two: killed, resumed, restarted, stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from lqsep.core.store.weights import load_weights
from lqsep.testing.models import TINY

pytestmark = pytest.mark.slow

STEPS = 200
HALF = 100

CHECKPOINTS = "checkpoints/codec/step-*.pt"


class Runs:
    """Calls of ``lqsep train`` on a tiny configuration, each in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        train = {
            "codec": {
                **TINY["train"]["codec"],
                "steps": STEPS,
                "batch_size": 4,
                "log_every": 10,
                "validate_every": 50,
                "checkpoint_every": HALF,
                "ema_decay": 0.9,
            },
            "prior": {
                **TINY["train"]["prior"],
                "steps": STEPS,
                "batch_size": 2,
                "log_every": 10,
                "validate_every": 40,
                "checkpoint_every": HALF,
            },
        }
        config = {**TINY, "train": train}
        (folder / "recipe.toml").write_text(tomli_w.dumps(config))

    def start(
        self, n_processes: int, what: str, model: str, *options: str, launcher: tuple[str, ...] = ()
    ) -> "subprocess.Popen[str]":
        command = [sys.executable]
        if n_processes > 1:
            pytest.importorskip("accelerate")
            command += ["-m", "torch.distributed.run", "--standalone", *launcher]
            command += [f"--nproc-per-node={n_processes}"]
        command += ["-m", "lqsep", "train", what, "--config", "recipe.toml", "-o", model]
        return subprocess.Popen(
            [*command, "-d", "cpu", *options],
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                # With a store that attempts share, restarts hang now and then in torch 2.13.
                "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
            },
            start_new_session=True,
        )

    def __call__(self, *arguments: Any, **settings: Any) -> str:
        process = self.start(*arguments, **settings)
        _, stderr = process.communicate(timeout=600)
        assert process.returncode == 0, stderr
        return stderr

    def wait_for(self, process: "subprocess.Popen[str]", model: str, files: str) -> None:
        """Until there are such files in a model."""
        deadline = time.monotonic() + 600
        while not list(self.folder.glob(f"{model}/{files}")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)

    def log(self, model: str, name: str) -> list[dict[str, Any]]:
        text = (self.folder / model / "logs" / f"{name}.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def assert_same(self, model: str, other: str, name: str, file: str) -> None:
        """The same weights and the same log, to the last bit."""
        weights = [load_weights(self.folder / m / file).tensors for m in (model, other)]
        assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])
        assert self.log(model, name) == self.log(other, name)


def workers(process: "subprocess.Popen[str]") -> list[int]:
    """The processes that a launcher started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True)
    return [int(pid) for pid in found.stdout.split()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def unbroken(runs: Runs) -> Callable[[int], str]:
    """Models of runs that nothing stopped, by their number of processes."""

    @cache
    def run(n_processes: int) -> str:
        runs(n_processes, "codec", f"whole-{n_processes}")
        return f"whole-{n_processes}"

    return run


@pytest.mark.parametrize("n_processes", [1, 2])
def test_killed_and_resumed_is_as_never_killed(
    runs: Runs, unbroken: Callable[[int], str], n_processes: int
) -> None:
    model = f"killed-{n_processes}"
    process = runs.start(n_processes, "codec", model)
    runs.wait_for(process, model, CHECKPOINTS)
    for pid in (process.pid, *workers(process)):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert not (runs.folder / model / "codec.safetensors").exists()
    runs(n_processes, "codec", model, "--resume")
    runs.assert_same(unbroken(n_processes), model, "codec", "codec.safetensors")


def test_torchrun_restarts_a_killed_worker(runs: Runs, unbroken: Callable[[int], str]) -> None:
    process = runs.start(2, "codec", "restarted", launcher=("--max-restarts=3",))
    runs.wait_for(process, "restarted", CHECKPOINTS)
    os.kill(workers(process)[-1], signal.SIGKILL)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    assert "closing signal" in stderr  # it had not ended before it was killed
    runs.assert_same(unbroken(2), "restarted", "codec", "codec.safetensors")


def test_two_processes_train_a_prior(runs: Runs, unbroken: Callable[[int], str]) -> None:
    model = unbroken(2)
    # The clock stops both at the same step: otherwise one would wait for the other for ever.
    clock = ("-p", "train.prior.steps=1000000", "-p", "train.prior.max_minutes=0.05")
    stderr = runs(2, "prior", model, "--source", "bass", *clock)
    assert stderr.count("encoding the train tracks") == 1
    weights = load_weights(runs.folder / model / "prior.bass.safetensors")
    assert weights.metadata["source"] == "bass"
    assert weights.metadata["steps"] == str(runs.log(model, "prior.bass")[-1]["step"])


def test_an_encoding_that_was_killed_goes_on(runs: Runs, unbroken: Callable[[int], str]) -> None:
    tracks = ("-p", "data.train.n_tracks=150", "-p", "train.prior.versions=2")
    settings = (*tracks, "-p", "train.prior.steps=1", "--source", "bass")
    for model in ("encoded", "cut"):
        shutil.copytree(runs.folder / unbroken(1), runs.folder / model)
    runs(1, "prior", "encoded", *settings)
    process = runs.start(1, "prior", "cut", *settings)
    # Some of the second versions, which are drawn, and not all.
    runs.wait_for(process, "cut", "codes/bass.train.part/170.npy")
    process.kill()
    process.communicate()
    done = len(list((runs.folder / "cut" / "codes" / "bass.train.part").glob("*.npy")))
    assert 170 < done < 300
    stderr = runs(1, "prior", "cut", *settings)
    assert f"from the {done + 1}th sequence on" in stderr
    encoded, cut = (runs.folder / model / "codes" for model in ("encoded", "cut"))
    assert sorted(path.name for path in cut.iterdir()) == ["bass.train", "bass.validation"]
    for name in ("codes.npy", "index.json"):
        files = [folder / "bass.train" / name for folder in (encoded, cut)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_one_process_tells_the_error_of_all(runs: Runs) -> None:
    process = runs.start(2, "codec", "refused", "-p", "train.codec.batch_size=6")
    _, stderr = process.communicate(timeout=600)
    assert process.returncode != 0
    errors = [line for line in stderr.splitlines() if line.startswith("lqsep: error")]
    assert len(errors) == 1 and "multiple of 4" in errors[0]
