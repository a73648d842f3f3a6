"""Commands that only list things do not load the heavy packages."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lqsep

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


# Of the standard library, on Unix alone.
UNIX_ONLY = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def imported_with(module: ast.AST) -> Iterator[str]:
    """What importing a module imports, but for what its functions do when they are called."""
    for node in ast.iter_child_nodes(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imported_with(node)


def test_no_module_needs_unix_to_be_imported() -> None:
    root = Path(lqsep.__file__).parent
    found = {
        str(path.relative_to(root)): unix
        for path in sorted(root.rglob("*.py"))
        if (unix := UNIX_ONLY & set(imported_with(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert found == {}
