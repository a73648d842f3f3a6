"""Which earlier frames a layer of attention sees."""

from __future__ import annotations

from enum import StrEnum


class Pattern(StrEnum):
    """Which earlier frames a layer sees."""

    DENSE = "dense"
    ROW = "row"
    COLUMN = "column"
    PREVIOUS_ROW = "previous-row"


FACTORED = (Pattern.ROW, Pattern.COLUMN, Pattern.PREVIOUS_ROW)


def patterns(depth: int, attention: str) -> tuple[Pattern, ...]:
    """Pattern of every layer; ``attention`` is ``"dense"`` or ``"factored"``."""
    if attention == "dense":
        return (Pattern.DENSE,) * depth
    return tuple(FACTORED[layer % 3] for layer in range(depth))
