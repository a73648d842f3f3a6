"""Commands that only list things do not load the heavy packages."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchaudio", "numpy", "jaxtyping", "soundfile", "safetensors", "scipy")

SCRIPT = """
import sys
from lqsep.cli.main import run
assert run({arguments!r}) == 0
loaded = [name for name in {heavy!r} if name in sys.modules]
print("loaded:", *loaded, file=sys.stderr)
"""


def heavy_modules(*arguments: str, first: str = "", heavy: tuple[str, ...] = HEAVY) -> list[str]:
    """The heavy packages in ``sys.modules`` after a command, in a Python of its own."""
    script = first + SCRIPT.format(arguments=list(arguments), heavy=heavy)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=True
    )
    return done.stderr.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["components"],
        ["components", "--help"],
        ["components", "show", "sampler", "ancestral"],
        ["components", "show", "codec", "lq-vae", "--schema"],
        ["separate", "--help"],
        ["config", "init"],
        ["doctor", "--help"],
        ["models", "--help"],
        ["data", "--help"],
        ["data", "check", "--help"],
        ["data", "render", "--help"],
    ],
    ids=" ".join,
)
def test_light_commands_stay_light(arguments: list[str]) -> None:
    assert heavy_modules(*arguments) == []


def test_the_help_builds_no_settings() -> None:
    """It looks for commands in every plugin; pydantic's models take longer than all the rest."""
    assert heavy_modules("--help", heavy=("pydantic",)) == []
    assert heavy_modules("components", heavy=("pydantic",)) == ["pydantic"]


def test_importing_lqsep_is_light() -> None:
    assert (
        heavy_modules(
            "--version",
            first="import lqsep, lqsep.core.components.config, lqsep.core.components.assemble",
        )
        == []
    )


def test_the_check_can_fail() -> None:
    assert heavy_modules("--help", first="import numpy") == ["numpy"]


def test_python_m_lqsep_runs_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lqsep", "--version"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0
    assert done.stdout.startswith("lqsep ")
