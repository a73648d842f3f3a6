"""Commands of plugins: they stand in the help, run, and never harm the command line."""

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from lqsep.cli import main
from lqsep.cli.lazy import LazyGroup
from lqsep.core.components.registry import Registry

Install = Callable[..., None]

COMMANDS = """
    import click


    @click.command()
    @click.argument("word")
    def greet(word):
        '''Greet with a word.'''
        click.echo(f"hello {word}")


    @click.group()
    def tools():
        '''Several at once.'''


    @tools.command()
    def first():
        click.echo("first")


    class Stop(BaseException):
        pass


    @click.command()
    @click.argument("how")
    def leave(how):
        '''Leave without having done anything.'''
        if how == "stop":
            raise Stop("here")
        if how == "click":
            click.get_current_context().exit(4)
        raise SystemExit(int(how) if how.isdigit() else None)


    something_else = print
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a plugin ``toys`` with these lines in its hook, and `COMMANDS` to point at."""

    def call(*lines: str, distribution: str = "lqsep-toys") -> None:
        module = f"{distribution.replace('-', '_')}_plugin"
        info = tmp_path / f"{distribution.replace('-', '_')}-2.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.0\n"
        )
        (info / "entry_points.txt").write_text(f"[lqsep]\ntoys = {module}\n")
        (tmp_path / "toy_commands.py").write_text(textwrap.dedent(COMMANDS))
        head = "from lqsep import CommandSpec, hookimpl\n\n\n@hookimpl\ndef lqsep_commands():\n"
        (tmp_path / f"{module}.py").write_text(head + "".join(f"    {line}\n" for line in lines))
        for name in ("toy_commands", module):
            monkeypatch.delitem(sys.modules, name, raising=False)
        if str(tmp_path) not in sys.path:
            monkeypatch.syspath_prepend(tmp_path)

    return call


def adds(path: str, target: str = "toy_commands:greet", summary: str = "Greet.") -> str:
    return f"yield CommandSpec({path!r}, {target!r}, {summary!r})"


def problems(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of ``lqsep components`` about the toys."""
    capsys.readouterr()
    assert main.run(["components"]) == 0
    out = capsys.readouterr().out
    assert "ancestral" in out
    return [line for line in out.splitlines() if line.startswith("toys ")]


def test_a_command_at_the_top(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(adds("greet", summary="Greet with a word."))
    assert main.run(["--help"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line]
    assert ["greet", "Greet with a word."] in lines
    assert "toy_commands" not in sys.modules, "imported without being called"
    assert main.run(["greet", "you", "-q"]) == 0
    assert capsys.readouterr().out == "hello you\n"
    assert problems(capsys) == [], "a plugin of commands alone is none"


@pytest.mark.parametrize("path", [["data"], ["models", "import"], ["train"], ["acme", "tools"]])
def test_a_command_in_a_group(
    path: list[str], install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(adds(" ".join([*path, "greet"]), summary="Greet with a word."))
    assert main.run([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert "greet" in out and "Greet with a word." in out
    assert "--debug" in out
    assert main.run([*path, "greet", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"
    assert main.run([*path, "greeet", "you"]) == 2
    assert "no command 'greeet'; did you mean 'greet'?" in capsys.readouterr().err


def test_a_group_of_its_own_is_listed(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(adds("acme one"), adds("acme two", summary="The second."))
    assert main.run(["--help"]) == 0
    assert "Commands of lqsep-toys." in capsys.readouterr().out
    assert main.run(["acme", "--help"]) == 0
    out = capsys.readouterr().out
    assert "The second." in out and "separate" not in out


def test_a_target_may_be_a_group(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(adds("tools", "toy_commands:tools"))
    assert main.run(["tools", "first", "--quiet"]) == 0
    assert capsys.readouterr().out == "first\n"


@pytest.mark.parametrize(
    ("line", "stage", "error"),
    [
        ("raise RuntimeError('boom')", "declare", "RuntimeError: boom"),
        ("return ['separate']", "declare", "must yield CommandSpec, got 'separate'"),
        ("yield CommandSpec('greet', 'nowhere', 'Greet.')", "declare", "target must look like"),
    ],
)
def test_a_faulty_hook_is_listed_and_harms_nothing(
    line: str, stage: str, error: str, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(line)
    install(adds("greet"), distribution="lqsep-good")
    assert main.run(["--help"]) == 0
    assert "separate" in capsys.readouterr().out
    assert main.run(["greet", "you"]) == 0
    assert main.run(["data", "--help"]) == 0
    (found,) = problems(capsys)
    assert found.split()[1:3] == ["lqsep-toys", stage]
    assert error in found


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("separate", "'lqsep separate' is a built-in command, which is used"),
        ("data", "'lqsep data' does not go with 'lqsep data slakh' of plugin 'datasets'"),
        ("train codec", "'lqsep train codec' is a built-in command, which is used"),
        ("components show", "'lqsep components show' is a built-in command, which is used"),
        ("separate greet", "cannot be added: 'lqsep separate' is no group"),
        ("data check", "'lqsep data check' is brought by plugin 'datasets' of lqsep"),
    ],
)
def test_a_built_in_command_stays_itself(
    path: str, error: str, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(adds(path, summary="An impostor."))
    for place in ([], ["data"], ["train"], ["components"], path.split()[:1]):
        assert main.run([*place, "--help"]) == 0
        assert "impostor" not in capsys.readouterr().out
    main.run([*path.split(), "--help"])
    assert "Greet with a word" not in capsys.readouterr().out
    (found,) = problems(capsys)
    assert found.split()[1:3] == ["lqsep-toys", "name"]
    assert error in found


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("no_such_module_at_all:greet", "cannot import 'no_such_module_at_all'"),
        ("toy_commands:gret", "has no callable 'gret'; did you mean 'greet'?"),
        ("toy_commands:something_else", "expected a click.Command"),
        ("toy_broken:greet", "SyntaxError"),
    ],
)
def test_a_command_that_cannot_be_loaded_is_one_line(
    target: str,
    error: str,
    install: Install,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "toy_broken.py").write_text("def greet(:\n")
    install(adds("data broken", target), adds("data greet"))
    assert main.run(["data", "--help"]) == 0
    assert "broken" in capsys.readouterr().out
    assert main.run(["data", "greet", "you"]) == 0
    capsys.readouterr()
    assert main.run(["data", "broken", "you"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith(
        "lqsep: error: 'lqsep data broken' of plugin 'toys' (lqsep-toys)"
    )
    assert error in captured.err


def test_own_commands_look_for_no_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "discover", None)
    assert main.run(["separate", "--help"]) == 0
    assert main.run(["config", "init", "--help"]) == 0


def test_every_group_knows_its_place() -> None:
    def walk(group: LazyGroup, path: tuple[str, ...]) -> None:
        assert group.path == path
        for name in group.own_names():
            command = group.own_command(name)
            if isinstance(command, click.Group):
                assert isinstance(command, LazyGroup)
                walk(command, (*path, name))

    walk(main.cli, ())


@pytest.mark.parametrize(
    ("how", "says"), [("0", "sys.exit(0)"), ("none", "sys.exit()"), ("stop", "Stop: here")]
)
def test_a_command_that_ends_the_program_has_not_succeeded(
    how: str, says: str, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(adds("leave", target="toy_commands:leave"))
    for _ in range(2):
        assert main.run(["leave", how]) == 2
        assert capsys.readouterr().err == (
            "lqsep: error: 'lqsep leave' of plugin 'toys' (lqsep-toys) tried to end the program by "
            f"{says}\n"
        )


def test_the_codes_of_a_commands_own_failures_stay(install: Install) -> None:
    install(adds("leave", target="toy_commands:leave"))
    assert main.run(["leave", "click"]) == 4
    with pytest.raises(SystemExit) as error:
        main.run(["leave", "3"])
    assert error.value.code == 3
