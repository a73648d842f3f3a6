"""Draws the rooms of the package and who imports whom, from the imports themselves.

``python docs/rooms.py`` writes ``docs/rooms.svg``, which a test holds against the code.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "lqsep"
PICTURE = Path(__file__).with_name("rooms.svg")

_BESIDE = ("testing", "plugins", "cli")


def _floors() -> tuple[str, ...]:
    """What stands beside the core, then its rooms from the top, as the fences have them."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return (*_BESIDE, *layers)


FLOORS = _floors()

_ROW, _TOP, _LEFT, _BOX, _WIDTH = 40, 16, 250, 116, 1080
_LINE = 118  # characters of names in a line of text


def room_of(module: str) -> str | None:
    """The room of a module: its folder in the core, or what stands beside the core."""
    parts = module.split(".")
    if parts[0] != "lqsep" or len(parts) < 2:
        return None
    if parts[1] == "core":
        return parts[2] if len(parts) > 2 else None
    return parts[1] if parts[1] in FLOORS else None


def contents(room: str) -> list[str]:
    """Names of the files or folders in a room."""
    folder = PACKAGE / room if (PACKAGE / room).is_dir() else PACKAGE / "core" / room
    if not folder.is_dir():
        return []
    entries = (path for path in folder.iterdir() if not path.name.startswith("_"))
    return sorted(path.stem for path in entries if path.suffix == ".py" or path.is_dir())


def imports() -> Counter[tuple[str, str]]:
    """How many imports lead from one room to another; imports for type checking do not count."""
    found: Counter[tuple[str, str]] = Counter()
    for path in sorted(PACKAGE.rglob("*.py")):
        importer = room_of(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for module in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            imported = room_of(module)
            if importer and imported and importer != imported:
                found[importer, imported] += 1
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        yield from _imported(node)


def draw() -> str:
    """The picture as SVG: an arc on the left for every room that another imports from.

    Everybody imports ``errors``: its arcs are left out.
    """
    middle = {room: _TOP + _ROW * place + _ROW // 2 for place, room in enumerate(FLOORS)}
    height = _TOP * 2 + _ROW * len(FLOORS)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="11" role="img">',
        "<title>Rooms of lqsep, each importing only from those below it</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for (importer, imported), count in sorted(imports().items()):
        if imported == FLOORS[-1]:
            continue
        start, stop = middle[importer], middle[imported]
        reach = _LEFT - 14 - 15 * abs(FLOORS.index(imported) - FLOORS.index(importer))
        colour = "#3b6ea5" if stop > start else "#c03030"
        lines.append(
            f'<path d="M{_LEFT},{start} C{reach},{start} {reach},{stop} {_LEFT},{stop}" fill="none"'
            f' stroke="{colour}" stroke-opacity="0.55" stroke-width="{0.6 + count**0.5 / 4:.2f}"/>'
        )
    for room, y in middle.items():
        beside = room in _BESIDE
        fill = "#f3e9d8" if beside else "#e3ecf5"
        lines.append(
            f'<rect x="{_LEFT}" y="{y - 13}" width="{_BOX}" height="26" rx="4" fill="{fill}" '
            f'stroke="#445"/><text x="{_LEFT + _BOX / 2}" y="{y + 4}" text-anchor="middle" '
            f'font-size="13" fill="#112">{room}</text>'
        )
        names = _wrapped(contents(room))
        for place, line in enumerate(names):
            baseline = y + 4 + 13 * place - 6 * (len(names) - 1)
            lines.append(f'<text x="{_LEFT + _BOX + 12}" y="{baseline}" fill="#445">{line}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _wrapped(names: list[str]) -> list[str]:
    """In one line or two."""
    text = ", ".join(names)
    if len(text) <= _LINE:
        return [text]
    cut = text.rindex(", ", 0, _LINE)
    return [text[: cut + 1], text[cut + 2 :]]


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
