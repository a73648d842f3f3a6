"""Log messages and warnings, as lines on stderr."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import PurePath

import click

from lqsep.cli.console.printable import one_line
from lqsep.cli.errors import show_warnings
from lqsep.cli.options import GlobalOptions


class _LogFormatter(logging.Formatter):
    """``lqsep: warning: ...`` on one line, like errors; a traceback, if there is one, before it."""

    def format(self, record: logging.LogRecord) -> str:
        names: list[str] = []
        if isinstance(record.args, tuple) and record.msg.strip() != "%s":
            names = [str(part) for part in record.args if isinstance(part, str | PurePath)]
        line = f"lqsep: {record.levelname.lower()}: {one_line(record.getMessage(), names)}"
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
