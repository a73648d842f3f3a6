"""The ``lqsep`` command: what there is, and how each command is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from lqsep.cli.console.interrupts import ignore_interrupts, interruptible
from lqsep.cli.console.logs import print_any_name, start_logging
from lqsep.cli.console.streams import keep_stdout_for_results
from lqsep.cli.errors import run_command
from lqsep.cli.lazy import LazyCommand, LazyGroup
from lqsep.cli.options import GlobalOptions, add_global_options
from lqsep.core.errors import LqsepError

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


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code (``sys.argv`` when no arguments are given)."""
    options = GlobalOptions()
    print_any_name()
    start_logging(options)
    with interruptible():
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
    if os.name != "posix":  # where a console is no file
        sys.exit(run())
    results = keep_stdout_for_results()
    code = run()
    ignore_interrupts()
    sys.stdout.flush()
    if results.error is not None:
        why = results.error.strerror
        click.echo(f"lqsep: error: not all results could be printed to stdout: {why}", err=True)
        code = code or LqsepError.exit_code
    sys.exit(code)
