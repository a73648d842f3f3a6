"""From exceptions to exit codes: what a user did wrong is one line on stderr.

======  ===================================================================================
code    meaning
======  ===================================================================================
0       everything was done
1       some or all inputs failed; audio errors; results that could not be printed to stdout
2       usage, configuration, component or device
3       model or weights
129     ended by SIGHUP
130     by Ctrl-C
143     by SIGTERM
======  ===================================================================================

Exceptions that are not `LqsepError` are faults of the program or of a plugin: they keep their
traceback.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import TextIO

import click

from lqsep.cli.console.printable import one_line
from lqsep.cli.options import GlobalOptions
from lqsep.core.errors import OUT_OF_MEMORY, Interrupted, LqsepError, is_out_of_memory
from lqsep.core.interfaces.calls import ending, is_failing_exit, told

INTERRUPTED = 130


def run_command(call: Callable[[], object], options: GlobalOptions) -> int:
    """Call a command and give its exit code; mistakes of the user are printed as one line."""
    try:
        result = call()
    except (click.Abort, KeyboardInterrupt) as error:
        # Click makes its own exception of it.
        cause = error if isinstance(error, KeyboardInterrupt) else error.__cause__
        if _speaker(options) is not None:
            notes = getattr(cause, "__notes__", ())
            click.echo("; ".join(["lqsep: interrupted", *map(one_line, notes)]), err=True)
        return cause.exit_code if isinstance(cause, Interrupted) else INTERRUPTED
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            _print_error(error, _usage_message(error), options)
        return error.exit_code
    except click.ClickException as error:
        _print_error(error, error.format_message(), options)
        return error.exit_code
    except LqsepError as error:
        _print_error(error, str(error), options)
        return error.exit_code
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _print_error(error, f"{OUT_OF_MEMORY} ({told(error)})", options)
        return LqsepError.exit_code
    except BaseException as error:  # of a plugin that no call surrounds: not all was done
        if is_failing_exit(error):
            raise
        _print_error(error, f"something {ending(error)}", options)
        return LqsepError.exit_code
    return result if type(result) is int else 0


def show_warnings(options: GlobalOptions) -> None:
    """Print Python warnings as one line on stderr; ``-q`` hides them."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if options.quiet:
            return
        where = f" ({category.__name__}, {filename}:{lineno})" if options.debug else ""
        click.echo(f"lqsep: warning: {one_line(str(message))}{where}", err=True)

    warnings.showwarning = show


def _usage_message(error: click.UsageError) -> str:
    message = error.format_message()
    if error.ctx is None:
        return message
    return f"{message.rstrip('.')} (see '{error.ctx.command_path} --help')"


def _print_error(error: BaseException, message: str, options: GlobalOptions) -> None:
    speaker = _speaker(options)
    if options.debug:
        traceback.print_exception(error, file=sys.stderr)
    if speaker is not None:
        click.echo(f"lqsep: error: {speaker}{one_line(message, sys.argv[1:])}", err=True)


def _speaker(options: GlobalOptions) -> str | None:
    """Which process tells an error, where several run a command together; None for all but one."""
    if not options.is_joint or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ""
    from lqsep.core.training import processes  # loads torch, which training needs anyhow

    if not processes.first_to_fail():
        return None
    rank = int(os.environ.get("RANK", "0"))
    return f"process {rank}: " if rank else ""
