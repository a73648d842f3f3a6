"""What became of the inputs of ``lqsep separate``, shown as it comes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from lqsep.cli.console.interrupts import check_interrupts
from lqsep.cli.console.printable import one_line, printable
from lqsep.cli.console.progress import ProgressBars
from lqsep.cli.console.tables import print_table
from lqsep.cli.options import current_options
from lqsep.cli.separate.references import score_table
from lqsep.cli.separate.run import Track, TrackResult

SCORE_TITLE = "dB; median of windows of 1 s, and of the whole:"

logger = logging.getLogger(__name__)


class Results:
    """Collects results, and shows them and the progress as they come; a context manager."""

    def __init__(self, root: Path, model: str, as_json: bool, n_tracks: int) -> None:
        self.all: list[TrackResult] = []
        self.left_out: list[tuple[Path, str]] = []
        self._n_tracks = n_tracks
        self._root = root
        self._model = model
        self._as_json = as_json
        self._bars = ProgressBars(enabled=False if current_options().quiet else None)

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.close()
        if isinstance(error, KeyboardInterrupt):
            n_done = sum(result.status != "failed" for result in self.all)
            how = "the same command with --skip-existing goes on"
            error.add_note(f"{n_done} of {self._n_tracks} tracks are done; {how}")

    def progress(self, track: Track, done_s: float, total_s: float) -> None:
        check_interrupts()
        self._bars.update(track.name, done_s, total_s)

    def add(self, result: TrackResult) -> None:
        self.all.append(result)
        if result.track is not None:
            self._bars.finish(result.track)
        with self._bars.paused():
            names = [name for name in (result.input, result.track) if name]
            for warning in result.warnings:
                logger.warning("%s", one_line(warning, names))
            if result.status == "failed":
                logger.error("%s", one_line(str(result.error), names))
            elif not self._as_json:
                click.echo(printable(self._line(result)))
                if result.self_check:
                    click.echo(f"  {printable(result.self_check)}")
                if result.scores:
                    print_table(*score_table(result.scores), title=SCORE_TITLE)

    def leave_out(self, path: Path, why: str) -> None:
        """Tell of a file in a folder that is sound and is not read."""
        self.left_out.append((path, why))
        logger.warning("left out: %s: %s", path, why)

    def print_summary(self) -> None:
        """The JSON document; and on stderr, which inputs failed."""
        if self._as_json:
            click.echo(json.dumps(self._document(), indent=2))
        failures = [result for result in self.all if result.status == "failed"]
        if failures:
            names = ", ".join(printable(result.input) for result in failures)
            logger.error("%d of %d inputs failed: %s", len(failures), len(self.all), names)

    def _line(self, result: TrackResult) -> str:
        if result.status == "skipped":
            return f"{result.track}: skipped, its results are there"
        # Beside the stems, files go by their file names.
        stems = [name for name in result.files if "." not in name] or list(result.files)
        names = ", ".join(stems)
        if len(stems) < len(result.files):
            names += f" and {len(result.files) - len(stems)} more files"
        folder = self._root / str(result.track)
        return f"{result.track}: {names} in {folder} ({result.elapsed_s:.1f} s)"

    def _document(self) -> dict[str, Any]:
        counts = {
            status: sum(result.status == status for result in self.all)
            for status in ("done", "skipped", "failed")
        }
        return {
            "model": self._model,
            "output": str(self._root),
            "counts": counts,
            "tracks": [result.to_dict() for result in self.all],
            "left_out": [{"path": str(path), "reason": why} for path, why in self.left_out],
        }
