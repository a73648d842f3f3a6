"""Every error that lqsep raises on purpose.

::

    LqsepError                          exit code 1
    ├── ConfigError                     2   a configuration file or option
    ├── PluginError                     2   a plugin or the component it offers
    │   ├── UnknownComponentError
    │   ├── AmbiguousComponentError
    │   ├── IncompatiblePluginError
    │   └── ComponentError            1   a component that fails at its work
    ├── IncompatibleComponentsError     2   components that do not fit each other
    ├── DeviceError                     2   a device that is not there
    │   └── DeviceMemoryError           1   one that is too small for an input
    ├── CheckpointError                 3   a model directory or weights file
    ├── AudioError                      1   an audio file
    ├── ShapeError                      1   a tensor of the wrong shape
    └── EmptySupportError               1   no joint code explains a frame

A message says what was being done, what was expected, what was found, where, and what to do.
The command line prints it as one line and exits with the class's code.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence


class Interrupted(KeyboardInterrupt):
    """A signal ends the work: no error, so that nothing that handles errors handles it.

    Notes (`add_note`) say what is done and how to go on.

    Args:
        number: Of the signal.

    Attributes:
        exit_code: As shells have it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.exit_code = 128 + number


class LqsepError(Exception):
    """Base class; its message is meant for the user."""

    exit_code = 1


class ConfigError(LqsepError):
    """A configuration file, option or value is wrong."""

    exit_code = 2


class PluginError(LqsepError):
    """A plugin, or a component offered by one, cannot be used."""

    exit_code = 2


class UnknownComponentError(PluginError):
    """No plugin offers a component of this kind and name."""


class AmbiguousComponentError(PluginError):
    """Several third-party plugins offer this kind and name."""


class IncompatiblePluginError(PluginError):
    """A component does not fulfil the interface of its kind."""


class ComponentError(PluginError):
    """A component ends, or gives what its interface does not allow, where it was put to work.

    Another input may not lead there.
    """

    exit_code = 1


class IncompatibleComponentsError(LqsepError):
    """Components were assembled that do not fit each other."""

    exit_code = 2


class DeviceError(LqsepError):
    """The requested device is not available."""

    exit_code = 2


class DeviceMemoryError(DeviceError):
    """The device has too little memory for this input; a shorter one may fit."""

    exit_code = 1


class CheckpointError(LqsepError):
    """A model directory or a weights file is missing, damaged or belongs to something else."""

    exit_code = 3


class AudioError(LqsepError):
    """An audio file cannot be read or written."""


class ShapeError(LqsepError):
    """A tensor does not have the shape that is asked for."""


class EmptySupportError(LqsepError):
    """The priors and the likelihood together allow no joint code at a frame."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type's name where it has none."""
    return str(error).partition("\n")[0] or type(error).__name__


# Of torch's allocators on the CPU and on devices, and of the system.
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "cannot allocate memory",
)

OUT_OF_MEMORY = (
    "out of memory; use fewer candidates (--candidates), shorter segments (--segment) or fewer "
    "jobs at a time (--jobs)"
)
"""What to tell of it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory was asked for that is not there, in whichever library's words."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError | OSError):
        return False
    text = str(error).lower()
    return any(word in text for word in _NO_MEMORY)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """``"; did you mean 'beam'?"`` or nothing."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
