"""Work on several tasks at a time, each in a process of its own.

Every worker loads the model once and is given one task after the other. A worker that dies costs
the task it worked on and is replaced. Workers end when their parent does: reading from the closed
pipe fails.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, NamedTuple

from lqsep.cli.console.interrupts import check_interrupts, interruptible
from lqsep.cli.jobs.setup import OnProgress, Result, Task, WorkerSetup
from lqsep.core.errors import Interrupted, LqsepError

# Seconds between two progress messages of a worker, and that an ended one gets to clean up.
_PROGRESS_INTERVAL = 0.2
_GRACE = 20.0


class _Progress(NamedTuple):
    done: float
    total: float


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
class _Worker(Generic[Task]):
    process: BaseProcess
    connection: Connection
    task: Task

    def give(self, task: Task) -> None:
        self.task = task
        with contextlib.suppress(OSError):  # it has just died, which receiving will tell
            self.connection.send(task)


def run_in_processes(
    tasks: Sequence[Task],
    jobs: int,
    setup: WorkerSetup[Task, Result],
    on_progress: Callable[[Task, float, float], None],
    on_result: Callable[[Result], None],
) -> None:
    """Do all tasks in ``jobs`` processes; see `lqsep.cli.jobs.run.run_tasks`."""
    pending = deque(tasks)
    running: list[_Worker[Task]] = []
    finished: list[_Worker[Task]] = []
    try:
        while pending or running:
            while pending and len(running) < jobs:
                running.append(_start(setup, pending.popleft()))
            ready = wait([worker.connection for worker in running])
            for worker in [w for w in running if w.connection in ready]:
                message = _receive(worker, setup)
                if isinstance(message, _Fault):
                    raise message.error()
                if isinstance(message, _Progress):
                    on_progress(worker.task, *message)
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


def _start(setup: WorkerSetup[Task, Result], task: Task) -> _Worker[Task]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, setup), daemon=True)
    with _ignoring_interrupts():
        process.start()
    theirs.close()  # so that reading from ours fails when the worker is gone
    worker = _Worker(process, ours, task)
    worker.give(task)
    return worker


def _receive(
    worker: _Worker[Task], setup: WorkerSetup[Task, Result]
) -> Result | _Progress | _Fault:
    """The next message; a failed result where the worker has died."""
    try:
        message: Result | _Progress | _Fault = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join(_GRACE)
        code = worker.process.exitcode
        hint = "; perhaps out of memory, try a smaller --jobs or --segment" if code == -9 else ""
        return setup.failed(
            worker.task, f"its worker process ended unexpectedly (exit code {code}){hint}"
        )
    return message


def _end(workers: Sequence[_Worker[Task]]) -> None:
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


def _work(connection: Connection, setup: WorkerSetup[Any, Any]) -> None:
    """The worker's life: load the model, then one task after the other."""
    from lqsep.cli.console.logs import start_logging

    start_logging(setup.options)
    # An ended connection means that the parent is done, or gone.
    with interruptible(), contextlib.suppress(EOFError, OSError):
        try:
            work = setup.start()
            report = _reporter(connection)
            while True:
                connection.send(work(connection.recv(), report))
        except Interrupted as error:
            raise SystemExit(error.exit_code) from None
        except LqsepError as error:
            connection.send(_Fault(str(error), error.exit_code))


def _reporter(connection: Connection) -> OnProgress:
    last = 0.0

    def report(done: float, total: float) -> None:
        nonlocal last
        check_interrupts()
        now = time.monotonic()
        if now - last < _PROGRESS_INTERVAL:
            return
        last = now
        try:
            connection.send(_Progress(done, total))
        except OSError:  # the parent is gone: stop, and remove what is unfinished
            raise Interrupted(signal.SIGTERM) from None

    return report
