"""Signals become exceptions, and are not lost; a second one ends the process at once."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lqsep.cli.console.interrupts import ENDING, check_interrupts, interruptible
from lqsep.core.errors import Interrupted

STUBBORN = """
import os, signal, sys, time
from lqsep.cli.console.interrupts import interruptible
from lqsep.core.files.staging import Staging

with interruptible():
    own = Staging(sys.argv[1])
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), int(sys.argv[2]))
        time.sleep(600)
"""


@pytest.mark.parametrize(("number", "code"), list(zip(ENDING, (130, 143, 129), strict=True)))
def test_signals_are_exceptions_with_their_codes(number: int, code: int) -> None:
    with pytest.raises(Interrupted) as caught, interruptible():
        os.kill(os.getpid(), number)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert (caught.value.number, caught.value.exit_code) == (number, code)


@pytest.mark.parametrize("number", ENDING)
def test_a_lost_exception_is_raised_again(number: int) -> None:
    with interruptible():
        check_interrupts()
        with pytest.raises(Interrupted):  # stands for a destructor that swallows it
            os.kill(os.getpid(), number)
        with pytest.raises(Interrupted):
            check_interrupts()
    check_interrupts()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_wait(tmp_path: Path, number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUBBORN, str(tmp_path), str(int(number))], timeout=120
    )
    assert done.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            check_interrupts()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in ENDING] == before


def test_outside_the_main_thread_nothing_is_changed() -> None:
    failures: list[BaseException] = []

    def use() -> None:
        try:
            with interruptible():
                check_interrupts()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert failures == []


LATE = """
import atexit, os, signal, sys
from lqsep.cli.main import main
atexit.register(os.kill, os.getpid(), int(sys.argv.pop()))
main()
"""


@pytest.mark.parametrize("number", ENDING)
def test_signals_on_the_way_out_change_nothing(number: signal.Signals) -> None:
    command = [sys.executable, "-c", LATE, "--version", str(int(number))]
    assert subprocess.run(command, stdout=subprocess.PIPE, timeout=120).returncode == 0
