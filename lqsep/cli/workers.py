"""Separate several tracks at a time, each in a process of its own.

Every worker loads the model once and is given one track after the other. A worker that dies costs
the track it worked on and is replaced. Workers end when their parent does: reading from the closed
pipe fails.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from lqsep.cli.interrupts import Interrupts
from lqsep.cli.options import GlobalOptions
from lqsep.cli.pipeline_options import PipelineSource
from lqsep.cli.separate_run import Track, TrackResult, TrackSettings, failed, run_track
from lqsep.core.errors import LqsepError

if TYPE_CHECKING:
    from lqsep.core.pipeline import Separator

logger = logging.getLogger(__name__)

OnTrackProgress = Callable[[Track, float, float], None]
OnResult = Callable[[TrackResult], None]

# Seconds between two progress messages of a worker, and that an ended one gets to clean up.
_PROGRESS_INTERVAL = 0.2
_GRACE = 20.0


@dataclass(frozen=True)
class WorkerSetup:
    """Everything a worker needs to start."""

    pipeline: PipelineSource
    device: str
    settings: TrackSettings
    options: GlobalOptions

    def build(self) -> Separator:
        """Load the model.

        Raises:
            LqsepError: As `lqsep.Separator.from_pretrained`.
        """
        from lqsep.core.pipeline import Separator
        from lqsep.core.registry import Registry

        registry = Registry.discover()
        config = self.pipeline.parse(registry)
        separator = Separator.from_config(
            config, registry=registry, device=self.device, name=self.pipeline.name
        )
        logger.info("model %s loaded on %s", separator.name, separator.device)
        return separator


@dataclass(frozen=True)
class _Fault:
    """A worker's `LqsepError`, as plain values: an exception of a plugin may not unpickle."""

    message: str
    exit_code: int

    def error(self) -> LqsepError:
        error = LqsepError(self.message)
        error.exit_code = self.exit_code
        return error


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    track: Track

    def give(self, track: Track) -> None:
        self.track = track
        with contextlib.suppress(OSError):  # it has just died, which receiving will tell
            self.connection.send(track)


def run_in_processes(
    tracks: Sequence[Track],
    jobs: int,
    setup: WorkerSetup,
    on_progress: OnTrackProgress,
    on_result: OnResult,
) -> None:
    """Separate all tracks in ``jobs`` processes.

    Args:
        on_progress: Called with a track, the seconds of it done and its length.
        on_result: Called once per track, in the order in which they are finished.

    Raises:
        LqsepError: The model cannot be loaded, or the pipeline is at fault; all workers are ended.
    """
    pending = deque(tracks)
    running: list[_Worker] = []
    finished: list[_Worker] = []
    try:
        while pending or running:
            while pending and len(running) < jobs:
                running.append(_start(setup, pending.popleft()))
            ready = wait([worker.connection for worker in running])
            for worker in [w for w in running if w.connection in ready]:
                message = _receive(worker)
                if isinstance(message, _Fault):
                    raise message.error()
                if not isinstance(message, TrackResult):
                    on_progress(worker.track, *message)
                    continue
                on_result(message)
                if pending and worker.process.is_alive():
                    worker.give(pending.popleft())
                else:
                    running.remove(worker)
                    finished.append(worker)
                    worker.connection.close()
    except BaseException:
        for worker in running:
            worker.process.terminate()
        raise
    finally:
        _end([*running, *finished])


def _start(setup: WorkerSetup, track: Track) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, setup), daemon=True)
    with _ignoring_interrupts():
        process.start()
    theirs.close()  # so that reading from ours fails when the worker is gone
    worker = _Worker(process, ours, track)
    worker.give(track)
    return worker


def _receive(worker: _Worker) -> TrackResult | tuple[float, float] | _Fault:
    """The next message; a failed result where the worker has died."""
    try:
        message = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join(_GRACE)
        code = worker.process.exitcode
        hint = "; perhaps out of memory, try a smaller --jobs or --segment" if code == -9 else ""
        return failed(
            worker.track, f"its worker process ended unexpectedly (exit code {code}){hint}"
        )
    assert isinstance(message, TrackResult | tuple | _Fault)
    return message


def _end(workers: Sequence[_Worker]) -> None:
    """Wait until the workers are gone; they get some time to remove unfinished files."""
    deadline = time.monotonic() + _GRACE
    for worker in workers:
        worker.connection.close()  # an idle worker ends by this
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """A process started in here ignores Ctrl-C: its parent decides when it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _work(connection: Connection, setup: WorkerSetup) -> None:
    """The worker's life: load the model, then one track after the other."""
    from lqsep.cli.main import start_logging

    start_logging(setup.options)
    # An ended connection means that the parent is done, or gone.
    with Interrupts([signal.SIGTERM]) as interrupts, contextlib.suppress(EOFError, OSError):
        try:
            separator = setup.build()
            report = _reporter(connection, interrupts)
            while True:
                track = connection.recv()
                connection.send(run_track(separator, track, setup.settings, report))
        except LqsepError as error:
            connection.send(_Fault(str(error), error.exit_code))


def _reporter(connection: Connection, interrupts: Interrupts) -> Callable[[float, float], None]:
    last = 0.0

    def report(done_s: float, total_s: float) -> None:
        nonlocal last
        interrupts.check()
        now = time.monotonic()
        if now - last < _PROGRESS_INTERVAL:
            return
        last = now
        try:
            connection.send((done_s, total_s))
        except OSError:  # the parent is gone: stop, and remove what is unfinished
            raise SystemExit(1) from None

    return report
