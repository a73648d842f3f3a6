"""Figures of a training run as JSON lines and, where tensorboard is installed, as its events."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lqsep.core.errors import LqsepError


class MetricsLog:
    """Appends to ``<directory>/<name>.jsonl``; one line per call of `write`.

    Args:
        directory: Made if needed; TensorBoard's events go to ``<directory>/<name>``.
        name: Of the run.
        after_step: Lines of later steps are dropped: a resumed run writes them again. 0 starts a
            new file.
        report: Told once when tensorboard is missing.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        after_step: int,
        report: Callable[[Mapping[str, Any]], None],
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / f"{name}.jsonl"
        kept = _lines_until(self._path, after_step) if after_step else []
        self._file = self._path.open("w", encoding="utf-8")
        self._file.writelines(kept)
        self._file.flush()
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            report({"event": "note", "text": "tensorboard is not installed: JSON lines only"})
        else:
            self._board = SummaryWriter(
                str(directory / name), purge_step=after_step + 1 if after_step else None
            )

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """One line with the step and its figures.

        Raises:
            LqsepError: The file cannot be written.
        """
        try:
            self._file.write(json.dumps({"step": step, **figures}) + "\n")
            self._file.flush()
        except OSError as error:
            raise LqsepError(
                f"cannot write {self._path}: {error.strerror or error}. Make room, then continue "
                "with --resume."
            ) from error
        if self._board is not None:
            for key, value in figures.items():
                self._board.add_scalar(key, value, step)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def _lines_until(path: Path, step: int) -> list[str]:
    """The lines up to a step; a last line cut short by a crash is dropped."""
    if not path.exists():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            continue
    return kept
