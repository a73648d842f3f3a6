"""Whose results lie in a folder: inputs are told apart by their content, runs by their settings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lqsep.core.errors import AudioError
from lqsep.core.separation.output.settings import OutputSettings

# Entries of a report that decide what the stems are, beside the files that are read.
_DECIDING = ("model", "seed", "config", "settings")


@dataclass(frozen=True)
class InputFile:
    """A file that was read: where it lay, its size in bytes and the sha256 of its content."""

    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, path: str | Path) -> InputFile:
        """The file as it is now.

        Raises:
            AudioError: It cannot be read.
        """
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return cls(os.path.abspath(path), os.fstat(file.fileno()).st_size, digest)
        except OSError as error:
            raise AudioError(f"cannot read {path}: {error.strerror or error}") from error

    def is_the_same(self, entry: Any) -> bool:
        """Whether an entry of a report stands for this file, moved or changed since though."""
        return isinstance(entry, Mapping) and (
            entry.get("path") == self.path or entry.get("sha256") == self.sha256
        )


class TrackIdentity:
    """What the results of a track are made from.

    Args:
        paths: The mixture, or what it is formed from, and references.
        settings: Plain values: what decides the stems, by the names that the report has.
    """

    def __init__(
        self, paths: Sequence[str | Path], settings: Mapping[str, Any] | None = None
    ) -> None:
        self._paths = tuple(paths)
        self.settings = dict(settings or {})

    @property
    def label(self) -> str:
        """The files in words."""
        return " + ".join(map(str, self._paths))

    @cached_property
    def files(self) -> tuple[InputFile, ...]:
        """As they are now; large ones take a while, so nobody asks without need.

        Raises:
            AudioError: One cannot be read.
        """
        return tuple(InputFile.of(path) for path in self._paths)

    def entries(self) -> dict[str, Any]:
        """For the report."""
        return {"files_read": [asdict(file) for file in self.files]}

    def is_done(self, output: OutputSettings, track: str) -> bool:
        """Whether the results there are complete, and were made from the same with the same."""
        report = read_report(output.report_path(track))
        if report is None or not output.is_complete(track):
            return False
        before = report.get("files_read")
        if not isinstance(before, list):
            return False
        if any(report.get(key) != _plain(self.settings.get(key)) for key in _DECIDING):
            return False
        found = [entry.get("sha256") for entry in before if isinstance(entry, Mapping)]
        return found == [file.sha256 for file in self.files]

    def in_the_way(self, output: OutputSettings, track: str) -> str | None:
        """What of another input would be replaced, in words; None where nothing would."""
        path = output.report_path(track)
        report = read_report(path)
        if report is None:
            there = [file for file in output.all_paths(track).values() if file.exists()]
            return f"{there[0]}, which is not described by a {path.name}" if there else None
        before = report.get("files_read")
        if not isinstance(before, list) or not before:
            return f"the results in {path.parent}, which do not say of which input they are"
        if any(file.is_the_same(entry) for file in self.files for entry in before):
            return None
        other = before[0].get("path") if isinstance(before[0], Mapping) else None
        return f"the results of {other} in {path.parent}"


def read_report(path: Path) -> dict[str, Any] | None:
    """A report as it lies there; None where there is none that can be read."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))
