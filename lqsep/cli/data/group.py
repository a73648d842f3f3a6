"""``lqsep data``: the group; plugins bring its commands."""

from __future__ import annotations

import click

from lqsep.cli.lazy import LazyGroup


@click.group(cls=LazyGroup, path=("data",))
def data() -> None:
    """Make, convert and check data sets for training and evaluation."""
