"""Text for a terminal: what would move its cursor, or turn its lines around, is shown as an escape.

Names of files and tracks may hold anything; a JSON document has them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable

import click

# C0, DEL and C1 controls, separators of lines, and marks of the direction of writing.
_CONTROLS = [
    *range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029,
    *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF,
]  # fmt: skip

_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _CONTROLS}


def printable(text: str) -> str:
    """The text with its control characters as escapes, such as ``\\n`` and ``\\x1b``."""
    return text if text.isprintable() else text.translate(_ESCAPES)


def one_line(text: str, names: Iterable[str] = ()) -> str:
    """The text as one line: its lines joined by spaces, other control characters as escapes.

    Args:
        text: Of any number of lines.
        names: Of files and tracks that may stand in it: their line breaks are escapes, too.
    """
    for name in names:
        text = text.replace(name, printable(name))
    lines = text.replace("\r\n", "\n").split("\n")
    return " ".join(printable(line.strip(" \t")) for line in lines if line.strip())


def print_line(text: object) -> None:
    """One line of results to stdout."""
    click.echo(printable(str(text)))
