"""Options and option types that several commands share."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # not generic in all versions of click
    _ParamType = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class GlobalOptions:
    """What ``-v``, ``-q`` and ``--debug`` said, wherever they stood on the command line.

    Args:
        verbosity: How often ``-v``; -1 after ``-q``.
        debug: Whether errors come with their traceback.
        is_joint: Whether the processes of a launcher run the command together: one of them tells
            an error.
    """

    verbosity: int = 0
    debug: bool = False
    is_joint: bool = False

    @property
    def quiet(self) -> bool:
        """No progress and no notes: results, errors and nothing else."""
        return self.verbosity < 0

    def apply(self) -> None:
        """Set the level of lqsep's log: errors, warnings (default), information, everything."""
        levels = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
        wanted = max(-1, min(2, self.verbosity))
        logging.getLogger("lqsep").setLevel(levels[wanted + 1])


def current_options() -> GlobalOptions:
    """The global options of the running command."""
    found = click.get_current_context().find_root().ensure_object(GlobalOptions)
    assert isinstance(found, GlobalOptions)
    return found


def add_global_options(command: click.Command) -> None:
    """Let a command, and every command below it, take ``-v``, ``-q``, ``--debug``, ``--version``.

    A flag that the command uses for something of its own stays its own.
    """
    taken = {flag for parameter in command.params for flag in _flags(parameter)}
    for option in _global_options():
        if taken.isdisjoint(_flags(option)):
            command.params.append(option)
    if isinstance(command, click.Group):
        for child in command.commands.values():
            add_global_options(child)


def _flags(parameter: click.Parameter) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]


def _global_options() -> list[click.Option]:
    return [
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_louder,
            help="Say more; -vv says everything.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_quiet,
            help="No progress, no warnings.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_debug,
            help="Show the traceback of an error.",
        ),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Print the version and exit.",
        ),
    ]


def _louder(context: click.Context, parameter: click.Parameter, value: int) -> None:
    if value:
        options = context.find_root().ensure_object(GlobalOptions)
        options.verbosity += value
        options.apply()


def _quiet(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        options = context.find_root().ensure_object(GlobalOptions)
        options.verbosity = -1
        options.apply()


def _debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().ensure_object(GlobalOptions).debug = True


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from lqsep import __version__

        click.echo(f"lqsep {__version__}")
        context.exit()


class SourceValue(_ParamType):
    """``SOURCE=VALUE``, as in ``--gain drums=0.5`` or ``--prior bass=ngram``.

    Converts to ``(source, value)``.

    Args:
        number: Whether the value must be a finite number above zero.
    """

    name = "source=value"

    def __init__(self, *, number: bool = False) -> None:
        self.number = number

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        source, separator, text = str(value).partition("=")
        source, text = source.strip(), text.strip()
        if not separator or not source or not text:
            self.fail(f"{value!r} is not of the form SOURCE=VALUE", param, ctx)
        if not self.number:
            return source, text
        number = _finite(text)
        if number is None or number <= 0:
            self.fail(f"{value!r}: expected a number above 0 after the '='", param, ctx)
        return source, number


# As the configuration's segment. 115 days: counts of samples stay far from overflowing.
_MAX_SECONDS = 1e7


class Seconds(_ParamType):
    """A time in seconds, at least (or, if ``positive``, above) zero and at most 1e7."""

    name = "seconds"

    def __init__(self, *, positive: bool = False) -> None:
        self.positive = positive

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = _finite(value)
        if number is None or number < 0 or (self.positive and number == 0):
            expected = "above 0" if self.positive else "of 0 or more"
            self.fail(f"{value!r} is not a time in seconds {expected}", param, ctx)
        if number > _MAX_SECONDS:
            self.fail(f"{value!r} is more than {_MAX_SECONDS:.0f} seconds", param, ctx)
        return number


class Setting(_ParamType):
    """``section.key=value``, kept as text; the value is read as TOML when it is applied."""

    name = "section.key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path, separator, _ = str(value).partition("=")
        if not separator or not all(part.strip() for part in path.split(".")):
            self.fail(f"{value!r} is not of the form section.key=value", param, ctx)
        return str(value)


def set_option(command: F) -> F:
    """The option ``-p/--set section.key=value``, passed on as a tuple ``settings``."""
    return click.option(
        "-p",
        "--set",
        "settings",
        type=Setting(),
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Set one value of the configuration; may be repeated.",
    )(command)


def jobs_option(text: str) -> Callable[[F], F]:
    """``-j/--jobs``, how many at a time; ``text`` says of what."""
    return click.option(
        "-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help=text
    )


def seed_option(text: str) -> Callable[[F], F]:
    """``--seed``, a number from 0 on; ``text`` says of what."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help=text
    )


def split_names(value: str) -> list[str]:
    """``"a, b"`` as ``["a", "b"]``, each once."""
    return list(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
