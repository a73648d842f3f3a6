"""Calls into plugins: whatever one does, the caller goes on and knows whom to blame.

`ask` calls a component's method; `contained` surrounds a plugin's code where there is no component
yet: its import, its hooks, its factories and trainers. Both take three things away from it:

- to end the program: ``sys.exit()`` and other exceptions that are no `Exception` become errors.
  `KeyboardInterrupt` alone is the user's;
- to print to stdout, which is for results: what it prints goes to stderr;
- to fail namelessly: `who` says which component it was.

What methods give is looked at in `lqsep.core.interfaces.returned`.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import ParamSpec, TextIO, TypeVar

from lqsep.core.errors import ComponentError, LqsepError, is_out_of_memory

P = ParamSpec("P")
T = TypeVar("T")

_ROOM = f"{__name__.rpartition('.')[0]}."
_NAME = "_lqsep_name"


class Ended(Exception):
    """Code of a plugin tried to end the program."""


class _PrintsToStderr:
    """While entered, by any number of threads, ``sys.stdout`` is stderr."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._stdout: TextIO | None = None
        self._stand_in: TextIO | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._stdout, self._stand_in = sys.stdout, sys.stderr
                sys.stdout = sys.stderr
            self._depth += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                # Whoever has put something else there meanwhile keeps it.
                if sys.stdout is self._stand_in and self._stdout is not None:
                    sys.stdout = self._stdout
                self._stdout = self._stand_in = None


prints_to_stderr = _PrintsToStderr()
"""A context manager, to be entered again and again."""


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Around code of a plugin: it ends nothing and prints nothing to stdout.

    Raises:
        Ended: An exception that is no `Exception`, such as `SystemExit`, ended it.
    """
    with prints_to_stderr:
        try:
            yield
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise Ended(ending(error)) from error


def ask(method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a component's method.

    Raises:
        ComponentError: It failed in a way that is not one of lqsep's errors, or tried to end the
            program, by ``sys.exit()`` or the like.
    """
    with prints_to_stderr:
        try:
            return method(*args, **kwargs)
        except (LqsepError, KeyboardInterrupt):
            raise
        except Exception as error:
            # What memory is short of is told, and may be mended, elsewhere.
            if is_out_of_memory(error):
                raise
            raise ComponentError(f"{called(method)} failed: {told(error)}") from error
        except BaseException as error:
            raise ComponentError(f"{called(method)} {ending(error)}") from error


def give_name(component: object, name: str) -> None:
    """How the component is called in messages, such as ``codec 'lqsep-dac:dac'``."""
    with contextlib.suppress(AttributeError, TypeError):  # it has slots: its class's name must do
        object.__setattr__(component, _NAME, name)


def pass_name(maker: object, made: object) -> None:
    """What a component has made goes by the component's name."""
    if (name := getattr(maker, _NAME, None)) is not None:
        give_name(made, name)


def who(component: object) -> str:
    """A component in words: kind and name as `give_name` has it, else kind and class."""
    name = getattr(component, _NAME, None)
    if isinstance(name, str):
        return name
    kind = type(component)
    kinds = [base.__module__ for base in kind.__mro__ if base.__module__.startswith(_ROOM)]
    what = kinds[0].removeprefix(_ROOM) if kinds else "component"
    return f"{what.replace('_', ' ')} {kind.__module__}.{kind.__qualname__}"


def called(method: Callable[..., object]) -> str:
    """A component's method in words: ``codec 'lqsep-dac:dac': decode``."""
    component = getattr(method, "__self__", None)
    name = getattr(method, "__name__", type(method).__name__)
    return name if component is None else f"{who(component)}: {name}"


def told(error: BaseException) -> str:
    """A fault of a plugin in words, on one line: an exception's type and message."""
    if isinstance(error, Ended):
        return str(error)
    try:
        return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
    except Exception:  # its own words are what fails
        return type(error).__name__


def is_failing_exit(error: BaseException) -> bool:
    """Whether it is a ``sys.exit()`` with a code, or a text, that tells of a failure."""
    return isinstance(error, SystemExit) and error.code not in (0, None)


def ending(error: BaseException) -> str:
    """How an exception that is no `Exception` is told of."""
    if isinstance(error, SystemExit):
        code = "" if error.code is None else repr(error.code)
        return f"tried to end the program by sys.exit({code})"
    return f"tried to end the program by {type(error).__name__}: {error}".rstrip(": ")
