"""The commands that plugins bring, and who has a place when several want it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lqsep.core.components.plugins import PluginProblem
from lqsep.core.components.spec import PROJECT, CommandSpec


@dataclass(frozen=True)
class RegisteredCommand:
    """A command, the distribution that provides it and the plugin that declares it."""

    spec: CommandSpec
    distribution: str
    version: str
    plugin: str

    @property
    def call(self) -> str:
        """What a user types: ``lqsep data render``."""
        return " ".join(("lqsep", *self.spec.words))

    def misplaced(self, why: str) -> PluginProblem:
        """The problem that its place is taken."""
        return PluginProblem(self.plugin, self.distribution, "name", f"'{self.call}' {why}")


def settle_places(
    commands: Iterable[RegisteredCommand],
) -> tuple[list[RegisteredCommand], list[PluginProblem]]:
    """One command per place: built-ins first, then as they come.

    A command that stands where another one has commands below it, or the other way round, is in
    its way too.

    Returns:
        Those that have their place, and a problem for each of the others.
    """
    placed: list[RegisteredCommand] = []
    problems = []
    for command in sorted(commands, key=lambda command: command.distribution != PROJECT):
        rival = next((other for other in placed if _in_the_way(other, command)), None)
        if rival is None:
            placed.append(command)
            continue
        same = rival.spec.words == command.spec.words
        what = "is brought by" if same else f"does not go with '{rival.call}' of"
        problems.append(
            command.misplaced(
                f"{what} plugin '{rival.plugin}' of {rival.distribution}, whose command is used"
            )
        )
    return placed, problems


def _in_the_way(one: RegisteredCommand, other: RegisteredCommand) -> bool:
    shared = min(len(one.spec.words), len(other.spec.words))
    return one.spec.words[:shared] == other.spec.words[:shared]
