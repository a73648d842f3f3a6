"""The commands that plugins bring, as the groups of the command line find them."""

from __future__ import annotations

from collections.abc import Iterable

import click

from lqsep.core.components.assemble import import_target
from lqsep.core.components.commands import RegisteredCommand
from lqsep.core.components.registry import Registry
from lqsep.core.errors import PluginError


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
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}" if not isinstance(error, PluginError) else error
        raise PluginError(f"{who} cannot be loaded: {reason}") from error
    if not isinstance(found, click.Command):
        raise PluginError(
            f"{who} cannot be used: {command.spec.target} is a {type(found).__name__}, expected a "
            "click.Command"
        )
    return found
