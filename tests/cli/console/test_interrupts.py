"""Signals become exceptions, and are not lost."""

import os
import signal
import threading

import pytest

from lqsep.cli.console.interrupts import Interrupts


def test_ctrl_c_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts():
        os.kill(os.getpid(), signal.SIGINT)


def test_sigterm_is_a_system_exit_with_its_code() -> None:
    with pytest.raises(SystemExit) as caught, Interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_lost_exception_is_raised_again(
    number: signal.Signals, error: type[BaseException]
) -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        with pytest.raises(error):  # stands for a destructor that swallows it
            os.kill(os.getpid(), number)
        with pytest.raises(error):
            interrupts.check()


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_outside_the_main_thread_nothing_is_changed() -> None:
    failures: list[BaseException] = []

    def use() -> None:
        try:
            with Interrupts() as interrupts:
                interrupts.check()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert failures == []
