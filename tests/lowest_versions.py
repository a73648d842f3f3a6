"""The lowest versions that pyproject.toml allows, one ``name==version`` a line, for pip.

::

    python tests/lowest_versions.py test >lowest.txt

With what every installation needs, and what the extras named need.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(project: dict[str, Any], extras: Iterable[str]) -> Iterator[str]:
    """What a project needs, with the extras of its own that an extra asks for."""
    yield from project["dependencies"]
    waiting = list(extras)
    while waiting:
        for requirement in project["optional-dependencies"][waiting.pop()]:
            own = re.fullmatch(rf"{project['name']}\[(.*)\]", requirement)
            if own:
                waiting += [extra.strip() for extra in own[1].split(",")]
            else:
                yield requirement


def lowest(requirement: str) -> str:
    """``name>=version`` as ``name==version``.

    Raises:
        ValueError: It is not of that form.
    """
    name, at_least, version = requirement.partition(">=")
    if not at_least or re.search(r"[^\w.]", version):
        raise ValueError(f"expected name>=version, got {requirement!r}")
    return f"{name}=={version}"


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    print("\n".join(sorted({lowest(line) for line in requirements(project, sys.argv[1:])})))
