"""stdout that is full, closed or read by nobody: the work is done, one line says what is lost."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="descriptors are those of POSIX")

FULL = "No space left on device"
STATES = {"full": FULL, "closed": "it is closed", "unread": "Broken pipe"}
ERROR = "lqsep: error: not all results could be printed to stdout: "


@contextmanager
def stdout(state: str) -> Iterator[int | None]:
    """A descriptor in that state."""
    if state == "closed":
        yield None
        return
    if state == "full":
        if not os.path.exists("/dev/full"):
            pytest.skip("there is no /dev/full")
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        read, descriptor = os.pipe()
        os.close(read)
    yield descriptor
    os.close(descriptor)


def lqsep(state: str, *arguments: object) -> tuple[int, str]:
    """Exit code and stderr of the program, run with such a stdout."""
    command = [sys.executable, "-m", "lqsep", *map(str, arguments)]
    if state == "closed":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    with stdout(state) as descriptor:
        done = subprocess.run(
            command, stdout=descriptor, stderr=subprocess.PIPE, text=True, timeout=600
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("arguments", [["components"], ["models", "list"], ["--help"]])
def test_a_listing(state: str, arguments: list[str]) -> None:
    assert lqsep(state, *arguments) == (1, f"{ERROR}{STATES[state]}\n")


@pytest.mark.parametrize("state", STATES)
def test_tracks_are_done_all_the_same(state: str, toy_run) -> None:
    paths = [toy_run.write(f"{name}.wav", np.zeros((1, 400), np.float32)) for name in "ab"]
    options = ["-n", toy_run.model, "-o", toy_run.folder / "out"]
    code, stderr = lqsep(state, "separate", *paths, *options)
    assert (code, stderr) == (1, f"{ERROR}{STATES[state]}\n")
    assert [path for path in toy_run.files() if path.endswith("lqsep.json")] == [
        "toy/a/lqsep.json",
        "toy/b/lqsep.json",
    ]


def test_failures_keep_their_own_code() -> None:
    code, stderr = lqsep("full", "models", "show", "nothing")
    assert code == 3
    assert stderr.count("\n") == 1 and "no model named 'nothing'" in stderr


def test_stderr_may_be_closed_too(tmp_path: Path) -> None:
    """And the next files that are opened are not printed to."""
    out = tmp_path / "config.toml"
    script = 'exec "$@" 0<&- 1>&- 2>&-'
    command = [sys.executable, "-m", "lqsep", "config", "init", "-o", str(out), "-v"]
    done = subprocess.run(["sh", "-c", script, "sh", *command], timeout=600)
    assert done.returncode in {0, 1}
    assert out.read_text().startswith("# A pipeline of lqsep")
