"""What a worker of ``lqsep separate`` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lqsep.cli.jobs.setup import OnProgress, WorkerSetup
from lqsep.cli.separate.run import Track, TrackResult, TrackSettings, failed, run_track


@dataclass(frozen=True)
class TrackSetup(WorkerSetup[Track, TrackResult]):
    """Tasks are tracks, separated with these settings; progress counts seconds of audio."""

    settings: TrackSettings

    def start(self) -> Callable[[Track, OnProgress | None], TrackResult]:
        separator = self.build()
        return lambda track, report: run_track(separator, track, self.settings, report)

    def failed(self, task: Track, error: str) -> TrackResult:
        return failed(task, error)
