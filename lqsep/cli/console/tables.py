"""Tables on stdout: boxes on a terminal, plain unwrapped lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from lqsep.cli.console.printable import printable


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print a table.

    On a terminal it is drawn by rich and wrapped to the width. Otherwise each row is one line,
    columns are padded and separated by two spaces, and nothing is ever wrapped or cut.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(headers, cells, title)
        return
    if title:
        click.echo(title)
    for line in plain_lines([list(headers), *cells]):
        click.echo(line)


def plain_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as padded lines without trailing blanks; line breaks inside a cell become blanks."""
    clean = [[printable(" ".join(cell.split())) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in clean) for i in range(len(clean[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in clean
    ]


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)


def _print_rich(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, title=title or None, title_justify="left")
    for row in rows:
        # Text objects: square brackets in a cell are no markup. Long words fold; none is cut.
        table.add_row(*(Text(_shown(cell), overflow="fold") for cell in row))
    Console().print(table)


def _shown(cell: str) -> str:
    return "\n".join(printable(line) for line in cell.split("\n"))
