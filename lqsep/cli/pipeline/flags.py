"""The flags that choose a model and change its pipeline, common to several commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from lqsep.cli.options import Seconds, SourceValue, set_option
from lqsep.cli.pipeline.changes import PipelineSource, read_pipeline
from lqsep.core.components.changes import PipelineChanges
from lqsep.core.components.registry import Registry

DEFAULT_MODEL = "drums-bass"

F = TypeVar("F", bound=Callable[..., Any])


def model_flags(command: F) -> F:
    """``-n/--name`` and ``--config``, passed on under these names."""
    return _add(
        command,
        click.option(
            "-n", "--name", help=f"Model: a shipped name or a directory.  [{DEFAULT_MODEL}]"
        ),
        click.option(
            "--config",
            type=click.Path(exists=True, dir_okay=False),
            help="Pipeline configuration (TOML), instead of --name.",
        ),
    )


def pipeline_flags(command: F) -> F:
    """``--device``, passed on as it is, and the flags that `pipeline_changes` takes."""
    return _add(
        command,
        click.option(
            "-d", "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
        ),
        click.option(
            "--preset",
            metavar="NAME",
            help="Settings that the model has by this name, see `lqsep models show`.",
        ),
        click.option("--codec", metavar="NAME", help="Use another codec, with its defaults."),
        click.option("--likelihood", metavar="NAME", help="Use another likelihood."),
        click.option("--sampler", metavar="NAME", help="Use another sampler."),
        click.option("--selector", metavar="NAME", help="Use another selector."),
        click.option(
            "--refiner",
            "refiners",
            metavar="NAME",
            multiple=True,
            help="Use these refiners instead, in order; may be repeated; 'none' for none.",
        ),
        click.option(
            "--prior",
            "priors",
            type=SourceValue(),
            metavar="SOURCE=NAME",
            multiple=True,
            help="Use another prior for a source; may be repeated.",
        ),
        click.option(
            "--gain",
            "gains",
            type=SourceValue(number=True),
            metavar="SOURCE=F",
            multiple=True,
            help="Linear factor of a source in the mixture; may be repeated.",
        ),
        set_option,
        click.option("--candidates", type=click.IntRange(min=1), help="Candidates that are drawn."),
        click.option(
            "--sigma", type=click.FloatRange(min=0, min_open=True), help="Width of the likelihood."
        ),
        click.option(
            "--segment",
            type=Seconds(positive=True),
            metavar="S",
            help="Seconds separated at a time.",
        ),
        click.option(
            "--overlap",
            type=click.FloatRange(0, 1, max_open=True),
            help="Share of a segment that overlaps the next one.",
        ),
    )


def check_model_flags(name: str | None, config: str | None) -> None:
    """Refuse a model given twice or as an empty name.

    Raises:
        click.UsageError: It is.
    """
    if name is not None and config is not None:
        raise click.UsageError("give --name or --config, not both")
    if name == "":
        # An empty path would stand for the working directory.
        raise click.UsageError("--name must not be empty")


def pipeline_changes(
    *,
    refiners: Sequence[str],
    priors: Sequence[tuple[str, str]],
    gains: Sequence[tuple[str, float]],
    settings: Sequence[str],
    preset: str | None,
    candidates: int | None,
    sigma: float | None,
    segment: float | None,
    overlap: float | None,
    **components: str | None,
) -> PipelineChanges:
    """What the flags of `pipeline_flags` say."""
    return PipelineChanges(
        preset=preset,
        components={section: name for section, name in components.items() if name is not None},
        refiners=refiners,
        priors=priors,
        gains=gains,
        settings=settings,
        n_candidates=candidates,
        sigma=sigma,
        segment_s=segment,
        overlap=overlap,
    )


def read_chosen_pipeline(
    name: str | None, config: str | None, changes: PipelineChanges, registry: Registry
) -> PipelineSource:
    """The pipeline of a model or a file, see `read_pipeline`."""
    if config is not None:
        return read_pipeline(config, changes, registry, is_file=True)
    return read_pipeline(name or DEFAULT_MODEL, changes, registry)


def use_one_thread() -> None:
    """Unless the user says otherwise; call it before torch is loaded.

    Sampling is many small steps, which more threads make slower: they cost twice the processor
    time on two free cores, and many times the wall time on busy ones.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _add(command: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        command = option(command)
    return command
