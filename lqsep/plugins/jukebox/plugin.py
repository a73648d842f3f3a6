"""Declares the commands that read and write checkpoints of LQVAE-separation."""

from __future__ import annotations

from collections.abc import Iterable

from lqsep.core.components.spec import CommandSpec, hookimpl


@hookimpl
def lqsep_commands() -> Iterable[CommandSpec]:
    yield CommandSpec(
        path="models import jukebox",
        target="lqsep.plugins.jukebox.commands:import_jukebox",
        summary="Checkpoints of LQVAE-separation.",
    )
    yield CommandSpec(
        path="models export jukebox",
        target="lqsep.plugins.jukebox.commands:export_jukebox",
        summary="Checkpoints for LQVAE-separation.",
    )
