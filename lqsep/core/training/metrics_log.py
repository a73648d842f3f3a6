"""Figures of a training run: JSON lines, TensorBoard events, and whatever Accelerate can track."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lqsep.core.errors import ConfigError, LqsepError
from lqsep.core.training.events import Report, TrainNote

_BOARD = "tensorboard"


class MetricsLog:
    """Appends to ``<directory>/<name>.jsonl``; one line per call of `write`.

    Args:
        directory: Made if needed; TensorBoard's events go to ``<directory>/<name>``.
        name: Of the run.
        after_step: Lines of later steps are dropped: a resumed run writes them again. 0 starts a
            new file.
        report: Told once when tensorboard is missing.
        trackers: Where else figures go: ``tensorboard``, or other names of Accelerate's.

    Raises:
        ConfigError: A tracker is unknown or not installed.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        after_step: int,
        report: Report,
        trackers: Sequence[str] = (_BOARD,),
    ) -> None:
        others = [tracker for tracker in trackers if tracker != _BOARD]
        self._trackers = _start_trackers(others, directory, name) if others else []
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / f"{name}.jsonl"
        kept = _lines_until(self._path, after_step) if after_step else []
        self._file = self._path.open("w", encoding="utf-8")
        self._file.writelines(kept)
        self._file.flush()
        self._board: Any = None
        if _BOARD not in trackers:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            report(TrainNote("tensorboard is not installed: JSON lines only"))
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
        for tracker in self._trackers:
            tracker.log(dict(figures), step=step)

    @property
    def takes_sounds(self) -> bool:
        """Whether there is a TensorBoard to listen with."""
        return self._board is not None

    def write_sounds(self, step: int, sounds: Mapping[str, Any], sample_rate: int) -> None:
        """Waves (tensors, ``samples``) by name; they are clipped to full scale."""
        for name, wave in sounds.items():
            clipped = wave.detach().float().cpu().clamp(-1, 1)
            self._board.add_audio(name, clipped, step, sample_rate=sample_rate)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):  # what could not be written was told by `write`
            self._file.close()
        if self._board is not None:
            self._board.close()
        for tracker in self._trackers:
            tracker.finish()


def _start_trackers(names: Sequence[str], directory: Path, run: str) -> list[Any]:
    """Accelerate's trackers of these names."""
    try:
        from accelerate import Accelerator
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    except ImportError as error:
        raise ConfigError(
            f"trackers: {', '.join(names)} needs accelerate: pip install 'lqsep[train]'"
        ) from error
    installed = {str(tracker) for tracker in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise ConfigError(f"trackers: there is no '{name}'; expected one of {known}")
        if name not in installed:
            raise ConfigError(f"trackers: '{name}' is not installed; install its package")
    accelerator = Accelerator(log_with=list(names), project_dir=str(directory))
    accelerator.init_trackers(run)
    return list(accelerator.trackers)


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
