"""Declares the command that renders music for training."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import CommandSpec, hookimpl


@hookimpl
def lqsep_commands() -> Iterable[CommandSpec]:
    yield CommandSpec(
        path="data render",
        target="lqsep.plugins.rendering.commands:render",
        summary="Compose drum and bass parts and render them.",
    )
