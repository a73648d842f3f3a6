"""``lqsep train``: its options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lqsep.cli.lazy import LazyGroup
from lqsep.cli.options import current_options, set_option
from lqsep.cli.train.presets import PRESETS
from lqsep.core.components.spec import Kind


def _common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of all these commands, in the order of their help."""
    options = [
        click.option(
            "--config",
            "config_path",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Pipeline configuration with [data] and [train] tables (TOML).",
        ),
        click.option(
            "--preset",
            type=click.Choice(PRESETS),
            help="One that comes with lqsep, instead; its data are in ./data.",
        ),
        click.option(
            "-o",
            "--output",
            type=click.Path(file_okay=False, path_type=Path),
            required=True,
            help="Model directory: weights, model.toml, checkpoints, logs.",
        ),
        set_option,
        click.option("--resume", is_flag=True, help="Continue from the last checkpoint."),
        click.option(
            "--dry-run",
            is_flag=True,
            help="Build everything, take two steps, tell memory and duration; keep nothing.",
        ),
        click.option(
            "-d", "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
        ),
        click.option("--seed", default=0, show_default=True, help="Of everything random."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=LazyGroup, path=("train",))
def train() -> None:
    """Train the parts of a model.

    Train the codec first, then the rest, which works on its codes. Ctrl-C writes a checkpoint, from
    which --resume goes on. Several processes train together when torchrun or accelerate launch
    starts `-m lqsep train`.
    """
    current_options().is_joint = True


def _command(kind: Kind, text: str) -> click.Command:
    """``lqsep train <kind>``, the same for all kinds."""

    @click.command(kind.value, help=text)
    @_common_options
    def command(**choices: Any) -> None:
        from lqsep.cli.train.run import opened_run

        with opened_run(kind=kind, **choices) as run:
            run.train()

    if kind is Kind.PRIOR:
        only = "Train this source's prior.  [all, in turn]"
        return click.option("--source", metavar="NAME", help=only)(command)
    return command


for _kind, _text in {
    Kind.CODEC: "Train the codec on the sounds of all sources.",
    Kind.PRIOR: "Train the priors of the sources on the codes of a trained codec.",
    Kind.LIKELIHOOD: "Prepare the likelihood: a table, a calibration, counts of codes.",
    Kind.SELECTOR: "Train the selector, if the pipeline has one that learns.",
    Kind.REFINER: "Train those of the pipeline's refiners that learn, in turn.",
}.items():
    train.add_command(_command(_kind, _text))
