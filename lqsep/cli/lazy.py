"""A click group whose commands are imported when they are invoked.

The group's own help needs the names and summaries only, so that ``lqsep --help`` is fast and works
when the module of one command cannot be imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from lqsep.cli.options import add_global_options, did_you_mean


class LazyCommand(NamedTuple):
    """Where a command is found and what it does.

    Args:
        target: ``"module:object"``, a `click.Command`.
        summary: One line for the group's help.
    """

    target: str
    summary: str


class LazyGroup(click.Group):
    """Commands by name, as `LazyCommand`; suggests what was meant when a name is unknown."""

    def __init__(
        self, *args: Any, lazy_commands: Mapping[str, LazyCommand] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.lazy_commands = dict(lazy_commands or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.lazy_commands, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in self.lazy_commands:
            module_name, _, attribute = self.lazy_commands[cmd_name].target.partition(":")
            command = getattr(importlib.import_module(module_name), attribute)
            assert isinstance(command, click.Command), f"{attribute} is not a click command"
            add_global_options(command)
            self.commands[cmd_name] = command
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(
                f"no command '{name}'{did_you_mean(name, known) or ';'} "
                f"commands: {', '.join(known)}"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, command.summary) for name, command in self.lazy_commands.items()]
        rows += [
            (name, command.get_short_help_str())
            for name, command in self.commands.items()
            if name not in self.lazy_commands
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
