"""What the samplers' settings have in common."""

from __future__ import annotations


def check_counts(**counts: int | None) -> None:
    """Refuse counts below 1; None is none.

    Raises:
        ValueError: Names the first one.
    """
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} must be 1 or more, got {count}")
