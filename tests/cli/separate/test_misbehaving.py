"""Components that end the program, print, or need more memory than there is."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

JOBS = pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])


@pytest.fixture
def tracks(toy_run) -> list[Path]:
    """The loud one is where the codec misbehaves."""
    levels = np.array([0.0, 0.08, 0.28], np.float32)
    wave = levels[np.arange(100) % 3].repeat(4)[None]
    loud = np.full((1, 400), 0.95, np.float32)
    return [
        toy_run.write(f"{name}.wav", loud if name == "loud" else wave)
        for name in ("loud", "a", "b")
    ]


@JOBS
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("exit", "codec 'lqsep-toys:adding': analyse tried to end the program by sys.exit(0)"),
        ("leave", "codec 'lqsep-toys:adding': analyse tried to end the program by GeneratorExit"),
        ("fill", "out of memory on cpu in the stage 'encode'"),
        ("allocate", "out of memory on cpu in the stage 'encode'"),
    ],
)
def test_one_track_fails_in_one_line_and_the_others_go_on(
    toy_run, tracks: list[Path], fault: str, says: str, jobs: int
) -> None:
    toy_run(*tracks, "-j", jobs, "--json", "-p", f"codec.when_loud={fault}", code=1)
    statuses = {t["track"]: t["status"] for t in json.loads(toy_run.stdout)["tracks"]}
    assert statuses == {"loud": "failed", "a": "done", "b": "done"}
    error, summary = toy_run.stderr.splitlines()
    assert says in error
    assert summary.endswith(f"1 of 3 inputs failed: {tracks[0]}")


@JOBS
def test_what_plugins_print_is_none_of_the_results(toy_run, tracks: list[Path], jobs: int) -> None:
    command = [sys.executable, "-m", "lqsep", "separate", "-n", toy_run.model, "--json"]
    command += ["-o", toy_run.folder / "out", *tracks, "-p", "codec.when_loud=print", "-j", jobs]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"done": 3, "skipped": 0, "failed": 0}
    assert "printed by the codec" in done.stderr
    assert "printed past Python" in done.stderr
