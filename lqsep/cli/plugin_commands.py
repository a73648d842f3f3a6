"""The commands that plugins bring, as the groups of the command line find them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from lqsep.core.components.assemble import import_target
from lqsep.core.components.commands import RegisteredCommand
from lqsep.core.components.registry import Registry
from lqsep.core.errors import PluginError
from lqsep.core.interfaces.calls import ending, is_failing_exit, told


class PluginCommands:
    """Commands by their words. Groups that plugins alone have need no declaration.

    Args:
        commands: One per place, none below another.
    """

    def __init__(self, commands: Iterable[RegisteredCommand]) -> None:
        self._commands = tuple(commands)

    @classmethod
    def installed(cls) -> PluginCommands:
        """Those of all installed plugins."""
        return cls(Registry.discover().commands())

    def summaries(self, path: tuple[str, ...]) -> dict[str, str]:
        """The summaries of the commands and groups right below some words, by name."""
        found: dict[str, str] = {}
        for command in self._below(path):
            name, *deeper = command.spec.words[len(path) :]
            if not deeper:
                found[name] = command.spec.summary
            else:
                found.setdefault(name, _group_summary(command))
        return found

    def command(self, path: tuple[str, ...]) -> click.Command | None:
        """The command that these words call, imported; None if there is none.

        Raises:
            PluginError: The command cannot be imported, or is none of click's.
        """
        for command in self._below(path):
            if command.spec.words == path:
                return _load(command)
        return None

    def _below(self, path: tuple[str, ...]) -> list[RegisteredCommand]:
        return [c for c in self._commands if c.spec.words[: len(path)] == path]


def _group_summary(command: RegisteredCommand) -> str:
    return f"Commands of {command.distribution}."


def _load(command: RegisteredCommand) -> click.Command:
    who = f"'{command.call}' of plugin '{command.plugin}' ({command.distribution})"
    try:
        found: object = import_target(command.spec.target)
    except Exception as error:
        reason = error if isinstance(error, PluginError) else told(error)
        raise PluginError(f"{who} cannot be loaded: {reason}") from error
    if not isinstance(found, click.Command):
        raise PluginError(
            f"{who} cannot be used: {command.spec.target} is a {type(found).__name__}, expected a "
            "click.Command"
        )
    _forbid_silent_ends(found, who)
    return found


def _forbid_silent_ends(command: click.Command, who: str) -> None:
    """A command that leaves by ``sys.exit()`` has not done what it was asked; an error code stays.

    Click's own way out, ``context.exit()``, is no `SystemExit` here.
    """
    invoke = command.invoke
    if getattr(invoke, "is_watched", False):
        return

    def watched(context: click.Context) -> Any:
        try:
            return invoke(context)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            if is_failing_exit(error):
                raise
            raise PluginError(f"{who} {ending(error)}") from error

    watched.is_watched = True  # type: ignore[attr-defined]
    command.invoke = watched  # type: ignore[method-assign, assignment]
