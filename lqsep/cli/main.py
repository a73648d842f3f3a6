"""The ``lqsep`` command: what there is, and how each command is started."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from lqsep.cli.errors import one_line, run_command, show_warnings
from lqsep.cli.lazy import LazyCommand, LazyGroup
from lqsep.cli.options import GlobalOptions, add_global_options

COMMANDS = {
    "separate": LazyCommand(
        "lqsep.cli.separate.command:separate", "Separate audio files into their sources."
    ),
    "evaluate": LazyCommand("lqsep.cli.evaluate.command:evaluate", "Score a model on a data set."),
    "train": LazyCommand("lqsep.cli.train.command:train", "Train the parts of a model."),
    "sums": LazyCommand(
        "lqsep.cli.train.sums:sums", "Build a model's table of code sums, measure their noise."
    ),
    "counts": LazyCommand(
        "lqsep.cli.train.counts:counts", "Count which codes of mixtures and sources meet."
    ),
    "data": LazyCommand("lqsep.cli.data.group:data", "Make, convert and check data sets."),
    "models": LazyCommand(
        "lqsep.cli.models.group:models", "List, verify, import and export models."
    ),
    "components": LazyCommand(
        "lqsep.cli.config.components:components", "List components and plugins."
    ),
    "config": LazyCommand(
        "lqsep.cli.config.command:config", "Make, check and show configurations."
    ),
    "doctor": LazyCommand("lqsep.cli.config.doctor:doctor", "Check this installation."),
}


@click.group(
    cls=LazyGroup,
    lazy_commands=COMMANDS,
    path=(),
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
def cli() -> None:
    """Separate mixtures into their sources, without training on mixtures."""


add_global_options(cli)


class _LogFormatter(logging.Formatter):
    """``lqsep: warning: ...`` on one line, like errors; a traceback, if there is one, before it."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"lqsep: {record.levelname.lower()}: {one_line(record.getMessage())}"
        return f"{self.formatException(record.exc_info)}\n{line}" if record.exc_info else line


class _StderrHandler(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def start_logging(options: GlobalOptions) -> None:
    """Log messages and warnings go to stderr, as one line each."""
    logger = logging.getLogger("lqsep")
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        handler = _StderrHandler()
        handler.setFormatter(_LogFormatter())
        logger.addHandler(handler)
    options.apply()
    show_warnings(options)


def print_any_name() -> None:
    """Print names of files that are not UTF-8 with escapes, instead of ending with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code (``sys.argv`` when no arguments are given)."""
    options = GlobalOptions()
    print_any_name()
    start_logging(options)
    return run_command(
        lambda: cli.main(
            None if arguments is None else list(arguments),
            prog_name="lqsep",
            standalone_mode=False,
            obj=options,
        ),
        options,
    )


def main() -> NoReturn:
    """Entry point of the ``lqsep`` script."""
    sys.exit(run())
