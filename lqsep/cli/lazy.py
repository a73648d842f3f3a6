"""A click group whose commands are imported when they are invoked.

The group's own help needs the names and summaries only, so that ``lqsep --help`` is fast and works
when the module of one command cannot be imported. Plugins may bring further commands, which never
hide one of the group's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from lqsep.cli.options import add_global_options
from lqsep.core.errors import did_you_mean

if TYPE_CHECKING:
    from lqsep.cli.plugin_commands import PluginCommands


class LazyCommand(NamedTuple):
    """Where a command is found and what it does.

    Args:
        target: ``"module:object"``, a `click.Command`.
        summary: One line for the group's help.
    """

    target: str
    summary: str


class LazyGroup(click.Group):
    """Commands by name, as `LazyCommand`; suggests what was meant when a name is unknown.

    Args:
        lazy_commands: The group's own commands, imported when they are invoked.
        path: The words that call the group, where plugins may add to it; None keeps it closed.
    """

    def __init__(
        self,
        *args: Any,
        lazy_commands: Mapping[str, LazyCommand] | None = None,
        path: tuple[str, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.lazy_commands = dict(lazy_commands or {})
        self.path = path

    def own_names(self) -> list[str]:
        """The commands that are not a plugin's."""
        return list(dict.fromkeys([*self.lazy_commands, *self.commands]))

    def own_command(self, name: str) -> click.Command | None:
        """One of them, imported if need be."""
        if name not in self.commands and name in self.lazy_commands:
            module_name, _, attribute = self.lazy_commands[name].target.partition(":")
            command = getattr(importlib.import_module(module_name), attribute)
            assert isinstance(command, click.Command), f"{attribute} is not a click command"
            add_global_options(command)
            self.commands[name] = command
        return self.commands.get(name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.own_names(), *self._plugin_summaries(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = self.own_command(cmd_name)
        if own is not None or self.path is None:
            return own
        plugins, path = _plugin_commands(ctx), (*self.path, cmd_name)
        command = plugins.command(path)
        if command is None and (summary := plugins.summaries(self.path).get(cmd_name)) is not None:
            command = LazyGroup(cmd_name, path=path, help=summary)
        if command is not None:
            add_global_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        is_word = not name.startswith("-") and not ctx.resilient_parsing
        # Plugins are looked for when the command is none of the group's own.
        if is_word and name not in self.own_names() and name not in self.list_commands(ctx):
            known = self.list_commands(ctx)
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
        rows += self._plugin_summaries(ctx).items()
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _plugin_summaries(self, ctx: click.Context) -> dict[str, str]:
        """What plugins add to this group: summaries by name."""
        if self.path is None:
            return {}
        found = _plugin_commands(ctx).summaries(self.path)
        own = self.own_names()
        return {name: summary for name, summary in found.items() if name not in own}


def _plugin_commands(ctx: click.Context) -> PluginCommands:
    """The commands of the installed plugins, looked for once per call of the command line."""
    from lqsep.cli.plugin_commands import PluginCommands

    if __name__ not in ctx.meta:
        ctx.meta[__name__] = PluginCommands.installed()
    found: PluginCommands = ctx.meta[__name__]
    return found
