"""``lqsep data``: make, convert and check data sets."""

from __future__ import annotations

import click

from lqsep.cli.lazy import LazyCommand, LazyGroup

COMMANDS = {
    "render": LazyCommand(
        "lqsep.cli.data.render:render", "Compose drum and bass parts and render them."
    ),
    "slakh": LazyCommand(
        "lqsep.cli.data.slakh:slakh", "Write Slakh2100 as one mono file per source and track."
    ),
    "check": LazyCommand(
        "lqsep.cli.data.check:check", "Count and examine the files of a data set."
    ),
}


@click.group(cls=LazyGroup, lazy_commands=COMMANDS)
def data() -> None:
    """Make, convert and check data sets for training and evaluation."""
