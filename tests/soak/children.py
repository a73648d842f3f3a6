"""Commands in forked children: as fast as in this process, and whatever happens stays their own.

The parent has everything imported and runs nothing itself, so that a fork is a fresh start.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import resource
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FAULT = 70  # exit code of a child whose call raised

# Address space, in bytes: torch alone maps a few GB.
MEMORY = 12 << 30

_ON_USE = ("accelerate", "torch._dynamo", "matplotlib.pyplot", "museval", "mido", "yaml")

# Seconds that processes of a command may live on when it has ended.
_GRACE_S = 30.0


@dataclass(frozen=True)
class Strike:
    """A signal at a moment.

    Args:
        after_s: Since the command was started.
        number: Of the signal.
        to_all: To the command's own processes too, as a terminal does, not to the first alone.
        again_s: A second one, so many seconds later; None = none.
    """

    after_s: float
    number: signal.Signals
    to_all: bool = False
    again_s: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a command ended: an exit code, or the signal that killed it."""

    command: str
    code: int | None
    signal: int | None
    out: str
    err: str
    seconds: float
    peak_bytes: int
    timed_out: bool = False
    strays: int = 0

    @property
    def end(self) -> str:
        """In words."""
        if self.timed_out:
            return f"no end after {self.seconds:.0f} s"
        if self.signal is not None:
            return f"killed by {signal.Signals(self.signal).name}"
        return f"exit code {self.code}"


def run_child(
    call: Callable[[], int],
    folder: Path,
    *,
    name: str,
    limit_s: float = 60.0,
    file_bytes: int | None = None,
    strike: Strike | None = None,
) -> Outcome:
    """Run a call in a fork of this process, in a session of its own.

    Args:
        call: Gives the exit code.
        folder: For its output, and for its temporary files below ``tmp``.
        name: What it is called.
        limit_s: Seconds; then it is killed.
        file_bytes: Largest file that it may write.
        strike: A signal to send.
    """
    (folder / "tmp").mkdir(exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    started = time.monotonic()
    process = os.fork()
    if process == 0:
        _be_child(call, folder, file_bytes)
    strikes = []
    if strike is not None:
        strikes = [strike.after_s]
        if strike.again_s is not None:
            strikes.append(strike.after_s + strike.again_s)
    timed_out = False
    while True:
        found, status, usage = os.wait4(process, os.WNOHANG)
        if found:
            break
        passed = time.monotonic() - started
        if strikes and passed >= strikes[0] and strike is not None:
            strikes.pop(0)
            for number in _session(process) if strike.to_all else [process]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, strike.number)
        elif not timed_out and passed > limit_s:
            timed_out = True
            _kill(_session(process))
        time.sleep(0.002 if passed < 1 or strikes else 0.01)
    seconds = time.monotonic() - started
    strays = _wait_for_strays(process)
    return Outcome(
        command=name,
        code=os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        out=(folder / "stdout").read_text(errors="replace"),
        err=(folder / "stderr").read_text(errors="replace"),
        seconds=seconds,
        peak_bytes=usage.ru_maxrss << 10,
        timed_out=timed_out,
        strays=strays,
    )


def run_lqsep(arguments: Sequence[object], folder: Path, **limits: object) -> Outcome:
    """A command of lqsep in a child; see `run_child`."""
    from lqsep.cli.main import run

    words = [str(argument) for argument in arguments]
    return run_child(lambda: run(words), folder, name=shlex.join(["lqsep", *words]), **limits)  # type: ignore[arg-type]


def import_everything() -> None:
    """Every module of lqsep and what it imports on use, so that children need not."""
    import lqsep

    for found in pkgutil.walk_packages(lqsep.__path__, "lqsep."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    from lqsep.core.audio._torchaudio import import_torchaudio

    import_torchaudio()
    for name in _ON_USE:
        importlib.import_module(name)


def _be_child(call: Callable[[], int], folder: Path, file_bytes: int | None) -> None:
    code = FAULT
    try:
        os.setsid()
        # Until the command has handlers of its own, and after them: there is nothing to tidy up.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda received, frame: os._exit(128 + received))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        if file_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        os.environ["TMPDIR"] = str(folder / "tmp")
        tempfile.tempdir = None
        code = call()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _session(leader: int) -> list[int]:
    """Living processes of a session, from ``/proc``; the leader alone where there is none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found or [leader]


def _wait_for_strays(leader: int) -> int:
    """Processes that outlive their command; they are killed."""
    deadline = time.monotonic() + _GRACE_S
    while (left := [n for n in _session(leader) if n != leader]) and time.monotonic() < deadline:
        time.sleep(0.05)
    _kill(left)
    return len(left)


def _kill(processes: Sequence[int]) -> None:
    for number in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
