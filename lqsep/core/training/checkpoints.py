"""The checkpoints of one training run: a folder with the last few and the best weights.

::

    checkpoints/codec/step-00000500.pt     everything that resuming needs
    checkpoints/codec/step-00001000.pt
    checkpoints/codec/best-00000800.pt     the weights of the best validation, where they are kept
    checkpoints/codec.previous/            of the run before, until the next one starts anew
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lqsep.core.errors import CheckpointError, first_line
from lqsep.core.files.new_file import new_file, system_words


class CheckpointFolder:
    """Reads and writes the checkpoints of one run; a file is complete or not there.

    Args:
        path: The folder, made when it is written to.
        keep: How many checkpoints stay.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self.path, self._keep = path, keep

    def steps(self, kind: str = "step") -> list[int]:
        """Steps of the checkpoints (or of the ``best`` weights) that are there, ascending."""
        names = (path.stem.removeprefix(f"{kind}-") for path in self.path.glob(f"{kind}-*.pt"))
        return sorted(int(name) for name in names if name.isdigit())

    def file(self, step: int, kind: str = "step") -> Path:
        """The checkpoint (or ``best`` weights) of a step."""
        return self.path / f"{kind}-{step:08d}.pt"

    def latest(self) -> Path | None:
        """The last checkpoint; None where there is none."""
        steps = self.steps()
        return self.file(steps[-1]) if steps else None

    def set_aside(self) -> None:
        """Make room for a run that starts anew; what was there becomes the previous run's.

        Raises:
            CheckpointError: The folder cannot be written.
        """
        if not self.path.exists():
            return
        previous = self.path.with_name(f"{self.path.name}.previous")
        try:
            if previous.exists():
                shutil.rmtree(previous)
            os.replace(self.path, previous)
        except OSError as error:
            raise CheckpointError(
                f"cannot rename {self.path} to {previous.name}: {error.strerror or error}"
            ) from error

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write the checkpoint of a step, then remove all but the last few.

        Raises:
            CheckpointError: It cannot be written; those before stay.
        """
        self._write(self.file(step), state)
        self._remove_old()

    def save_best(self, step: int, state: Mapping[str, Any]) -> None:
        """Write the best weights so far, found at ``step``; raises as `save` does."""
        self._write(self.file(step, "best"), state)
        self._remove_old()

    def forget_after(self, step: int) -> None:
        """Remove the best weights of later steps: the run goes on from this one."""
        for later in self.steps("best"):
            if later > step:
                self.file(later, "best").unlink(missing_ok=True)

    def load(self, path: Path) -> dict[str, Any]:
        """The state that was saved, on the CPU.

        Raises:
            CheckpointError: The file is damaged.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict):
                raise ValueError(f"expected a dictionary, got {type(state).__name__}")
        except Exception as error:  # whatever unpickling damaged bytes leads to
            raise CheckpointError(
                f"cannot read the checkpoint {path} ({first_line(error)}). Delete it to go on "
                "from the one before."
            ) from error
        return state

    def load_best(self) -> dict[str, Any] | None:
        """What `save_best` wrote last, or None; raises as `load` does."""
        steps = self.steps("best")
        return self.load(self.file(steps[-1], "best")) if steps else None

    def _remove_old(self) -> None:
        for old in self.steps()[: -self._keep]:
            self.file(old).unlink(missing_ok=True)
        # What was best at a checkpoint stays as long as it, for a run that goes on from there.
        first = min(self.steps(), default=0)
        for old in [best for best in self.steps("best") if best <= first][:-1]:
            self.file(old, "best").unlink(missing_ok=True)

    def _write(self, path: Path, state: Mapping[str, Any]) -> None:
        try:
            with new_file(path) as part, part.open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # torch wraps what the system says
            latest = self.latest()
            kept = f"{latest} is kept" if latest else "there is none from before"
            raise CheckpointError(
                f"cannot write the checkpoint {path}: {system_words(error)}; {kept}. Make room, "
                "then continue with --resume."
            ) from error
