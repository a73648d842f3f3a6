"""Commands of plugins that cannot be called, since built-in ones have their places."""

from __future__ import annotations

import click

from lqsep.cli.lazy import LazyGroup
from lqsep.core.components.plugins import PluginProblem
from lqsep.core.components.registry import Registry


def shadowed_commands(registry: Registry, root: click.Command) -> list[PluginProblem]:
    """A problem for each command of a plugin that a built-in command of ``root`` hides."""
    assert isinstance(root, LazyGroup)
    problems = []
    for command in registry.commands():
        group = root
        for depth, word in enumerate(command.spec.words, 1):
            if word not in group.own_names():
                if group.path is None:
                    words = " ".join(("lqsep", *command.spec.words[: depth - 1]))
                    problems.append(command.misplaced(f"cannot be added: '{words}' is closed"))
                break
            own = group.own_command(word)
            if depth == len(command.spec.words):
                problems.append(command.misplaced("is a built-in command, which is used"))
            elif isinstance(own, LazyGroup):
                group = own
            else:
                words = " ".join(("lqsep", *command.spec.words[:depth]))
                problems.append(command.misplaced(f"cannot be added: '{words}' is no group"))
                break
    return problems
