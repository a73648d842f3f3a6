"""The command as a whole: help, version, exit codes, one-line errors."""

import importlib
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lqsep import __version__
from lqsep.cli import errors, main, options
from lqsep.cli.lazy import LazyCommand, LazyGroup
from lqsep.core.errors import AudioError, CheckpointError, ConfigError, LqsepError


def all_commands() -> list[list[str]]:
    """Every command and sub-command; one that cannot be imported fails in a test of its own."""

    def walk(command: click.Command, path: list[str]) -> Iterator[list[str]]:
        yield path
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                try:
                    child = command.get_command(context, name)
                except ImportError:
                    continue
                assert child is not None
                yield from walk(child, [*path, name])

    return list(walk(main.cli, []))


@pytest.mark.parametrize("path", all_commands(), ids=lambda path: " ".join(["lqsep", *path]))
def test_every_help_runs(path: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: {' '.join(['lqsep', *path])}")
    assert "--debug" in out


@pytest.mark.parametrize("path", all_commands(), ids=lambda path: " ".join(["lqsep", *path]))
def test_version_is_accepted_everywhere(
    path: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([*path, "--version"]) == 0
    assert capsys.readouterr().out == f"lqsep {__version__}\n"


def test_the_help_lists_every_command_with_a_summary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main.run(["--help"])
    out = capsys.readouterr().out
    for name, command in main.COMMANDS.items():
        assert f"{name} " in out
        assert command.summary in out


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_listed_command_exists(name: str) -> None:
    module, _, attribute = main.COMMANDS[name].target.partition(":")
    assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["componets"], "no command 'componets'; did you mean 'components'?"),
        (["xyz"], "no command 'xyz'; commands: separate,"),
        (["components", "shwo"], "no command 'shwo'; did you mean 'show'?"),
        (["--no-such"], "--no-such"),
        (["components", "--kind", "sampelr"], "sampelr"),
        (["components", "show", "sampler"], "NAME"),
        (["separate"], "INPUT"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("lqsep: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert "--help')" in captured.err


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 2
    assert "Usage: lqsep" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(AudioError, 1), (ConfigError, 2), (CheckpointError, 3), (LqsepError, 1)]
)
def test_an_lqsep_error_is_one_line_and_its_exit_code(
    error: type[LqsepError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error("two\n  lines")

    assert errors.run_command(fail, options.GlobalOptions()) == code
    assert capsys.readouterr().err == "lqsep: error: two lines\n"


def test_control_characters_are_shown_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of files and values of settings may hold any."""

    def fail() -> None:
        raise LqsepError("no \x1b[31mred\x00 \x7f\x9bé")

    assert errors.run_command(fail, options.GlobalOptions()) == 1
    assert capsys.readouterr().err == "lqsep: error: no \\x1b[31mred\\x00 \\x7f\\x9bé\n"


def test_debug_shows_the_traceback_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["components", "show", "sampler", "beem", "--debug"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert "lqsep: error: no sampler named 'beem'" in err


def test_without_debug_there_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["components", "show", "sampler", "beem"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, click.Abort])
def test_an_interruption_is_exit_code_130(
    interruption: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise interruption

    assert errors.run_command(interrupt, options.GlobalOptions()) == 130
    assert capsys.readouterr().err == "lqsep: interrupted\n"


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    def fault() -> None:
        raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError):
        errors.run_command(fault, options.GlobalOptions())


def test_the_number_that_a_command_returns_is_its_exit_code() -> None:
    given = options.GlobalOptions()
    assert errors.run_command(lambda: 5, given) == 5
    assert errors.run_command(lambda: None, given) == 0
    assert errors.run_command(lambda: "text", given) == 0
    assert errors.run_command(lambda: True, given) == 0


# Global options


@pytest.fixture
def log_level() -> Iterator[None]:
    logger = logging.getLogger("lqsep")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.mark.usefixtures("log_level")
@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        (["components"], logging.WARNING),
        (["-v", "components"], logging.INFO),
        (["components", "-v"], logging.INFO),
        (["-v", "components", "-v"], logging.DEBUG),
        (["components", "-vvv"], logging.DEBUG),
        (["components", "-q"], logging.ERROR),
        (["-q", "components"], logging.ERROR),
    ],
)
def test_verbosity_is_accepted_before_and_after_the_command(
    arguments: list[str], level: int
) -> None:
    assert main.run(arguments) == 0
    assert logging.getLogger("lqsep").level == level


@pytest.mark.usefixtures("log_level")
def test_log_messages_are_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["--version"])
    capsys.readouterr()
    logging.getLogger("lqsep.somewhere").warning("two\nlines")
    assert capsys.readouterr().err == "lqsep: warning: two lines\n"


@pytest.mark.parametrize(("verbosity", "shown"), [(0, True), (-1, False)])
def test_python_warnings_are_one_line_unless_quiet(
    verbosity: int, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        errors.show_warnings(options.GlobalOptions(verbosity=verbosity))
        warnings.warn("the table\nis rebuilt", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == ("lqsep: warning: the table is rebuilt\n" if shown else "")


def test_a_command_keeps_a_flag_of_its_own() -> None:
    taken: list[str] = []

    @click.command()
    @click.option("-v", "--volume")
    def own(volume: str) -> None:
        taken.append(volume)

    options.add_global_options(own)
    own.main(["-v", "3"], standalone_mode=False)
    assert taken == ["3"]
    assert "--debug" in [flag for parameter in own.params for flag in parameter.opts]


def test_a_command_that_cannot_be_imported_leaves_the_others_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    group = LazyGroup(
        "toy",
        lazy_commands={
            "broken": LazyCommand("no_such_module_at_all:command", "Broken."),
            "works": LazyCommand("lqsep.cli.config.components:components", "Works."),
        },
    )
    with pytest.raises(click.exceptions.Exit):
        group.make_context("toy", ["--help"])
    assert "Broken." in capsys.readouterr().out
    assert group.get_command(click.Context(group), "works") is not None
    with pytest.raises(ModuleNotFoundError):
        group.get_command(click.Context(group), "broken")


def test_a_closed_pipe_ends_the_command_quietly(tmp_path: Path) -> None:
    script = "import sys; from lqsep.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "components"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=600)
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (SystemExit(0), "something tried to end the program by sys.exit(0)"),
        (GeneratorExit(), "something tried to end the program by GeneratorExit"),
        (MemoryError(), "out of memory; use fewer candidates"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), "out of memory; use"),
    ],
    ids=repr,
)
def test_what_ends_a_command_is_told_in_one_line(
    error: BaseException, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert errors.run_command(fail, options.GlobalOptions()) == 1
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1 and stderr.startswith(f"lqsep: error: {says}")


@pytest.mark.parametrize("code", [3, "bye", ["a list"]], ids=repr)
def test_a_failing_exit_is_left_to_python(code: object) -> None:
    def leave() -> None:
        sys.exit(code)

    with pytest.raises(SystemExit) as caught:
        errors.run_command(leave, options.GlobalOptions())
    assert caught.value.code == code
