"""A part of a page, between two lines, that a program writes."""

from __future__ import annotations

import sys
from pathlib import Path

from lqsep.core.files.new_file import write_text


def parts(page: Path, begin: str, end: str) -> tuple[str, str]:
    """What stands before and after the two lines, or the end of the program without them."""
    before, first, rest = page.read_text(encoding="utf-8").partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        sys.exit(f"{page}: expected the lines {begin} and {end}")
    return before, after


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between the two lines."""
    before, after = parts(page, begin, end)
    write_text(page, f"{before}{begin}\n\n{text}\n\n{end}{after}")
