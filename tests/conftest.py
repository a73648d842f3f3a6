"""Fixtures for the whole test suite."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

_PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Golden:
    """Numbers recorded from the reference implementation; they live outside the project."""

    folder: Path

    def path(self, name: str) -> Path:
        """A file of the folder."""
        return self.folder / name

    def npz(self, name: str) -> Mapping[str, np.ndarray]:
        """The arrays of an ``.npz`` file, with or without its suffix in ``name``."""
        return _load_npz(self.path(name).with_suffix(".npz"))


@cache
def _load_npz(path: Path) -> Mapping[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """A command that says less or more must not decide what the next test sees."""
    logger = logging.getLogger("lqsep")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def golden() -> Golden:
    """The recorded numbers, from ``LQSEP_GOLDEN`` or a folder beside the project.

    Without the folder, tests that ask for it are skipped; on CI they fail.
    """
    folder = Path(os.environ.get("LQSEP_GOLDEN") or _PROJECT_ROOT.parent / "shared" / "golden")
    if not folder.is_dir():
        message = f"no recorded reference numbers in {folder}; set LQSEP_GOLDEN to their folder"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return Golden(folder)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of built-in components, see `lqsep.testing.models`. Do not change it."""
    from lqsep.testing.models import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def torchrun() -> Callable[..., None]:
    """Runs a script, or ``-m`` and a module, in several processes that train together.

    ``torchrun(2, "script.py", folder)``; fails with what they said when one of them fails.
    """

    def run(n_processes: int, *command: object) -> None:
        pytest.importorskip("accelerate")
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        launch += [f"--nproc-per-node={n_processes}", *map(str, command)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(launch, capture_output=True, text=True, timeout=600, env=environment)
        assert done.returncode == 0, done.stderr

    return run
