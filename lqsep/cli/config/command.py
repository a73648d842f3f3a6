"""``lqsep config``: make, check and show pipeline configurations."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence

import click

from lqsep.cli.config.template import TEMPLATE
from lqsep.cli.console.printable import print_line
from lqsep.cli.lazy import LazyGroup
from lqsep.cli.options import set_option
from lqsep.cli.pipeline.changes import PipelineSource, read_pipeline
from lqsep.core.components.changes import PipelineChanges
from lqsep.core.components.component_config import prior_file
from lqsep.core.components.config import PipelineConfig, check_two_sources
from lqsep.core.components.registry import Registry
from lqsep.core.errors import ConfigError
from lqsep.core.files.new_file import new_file, system_words

_name_option = click.option("-n", "--name", help="A shipped model's name or a model directory.")


@click.group(cls=LazyGroup, path=("config",))
def config() -> None:
    """Make, check and show pipeline configurations (TOML)."""


@config.command()
@click.option("-o", "--out", help="File to write; it must not exist yet.  [stdout]")
@_name_option
def init(out: str | None, name: str | None) -> None:
    """Write a configuration to start from: one for training, or that of a model."""
    text = TEMPLATE if name is None else _model_text(name)
    if out is None:
        click.echo(text, nl=False)
        return
    if os.path.lexists(out):
        raise ConfigError(f"{out} exists already; choose another name with --out")
    try:
        if not os.path.isdir(os.path.dirname(out) or "."):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        with new_file(out) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {system_words(error)}") from error


@config.command()
@click.argument("file", type=click.Path(exists=True))
def check(file: str) -> None:
    """Validate FILE; where its weights are there, load them and see that all parts fit.

    FILE may also be a model directory.
    """
    from lqsep.core.store.model_directory import weights_folder

    registry = Registry.discover()
    source = read_pipeline(file, PipelineChanges(), registry, is_file=os.path.isfile(file))
    parsed = source.parse(registry)
    check_two_sources(tuple(parsed.sources), file)
    folder = weights_folder(parsed)[0]
    missing = [f for f in _weight_files(parsed) if not (folder / f).is_file()]
    if missing:
        print_line(f"{file}: the settings are valid; not there yet: {', '.join(missing)}")
        return
    _assemble(parsed, registry, source)
    print_line(f"{file}: the settings are valid, the weights fit")


@config.command()
@click.argument("file", required=False, type=click.Path(exists=True))
@_name_option
@set_option
def show(file: str | None, name: str | None, settings: Sequence[str]) -> None:
    """Print the configuration in FILE, or of a model, with every default filled in."""
    import tomli_w

    if (file is None) == (name is None):
        raise click.UsageError("give a FILE or a model with --name, one of them")
    registry = Registry.discover()
    changes = PipelineChanges(settings=settings)
    is_file = file is not None and os.path.isfile(file)
    source = read_pipeline(file or name or "", changes, registry, is_file=is_file)
    click.echo(tomli_w.dumps(source.parse(registry).to_dict()), nl=False)


def _model_text(name: str) -> str:
    """A model's settings, for a file anywhere: they say whose weights are used."""
    import tomli_w

    from lqsep.core.store.model_directory import shipped_models

    registry = Registry.discover()
    source = read_pipeline(name, PipelineChanges(), registry)
    parsed = source.parse(registry)
    # What was measured is true of the model, and not of what its settings will be changed to.
    data = {key: value for key, value in parsed.to_dict().items() if key != "model"}
    is_shipped = source.name in shipped_models() and name == source.name
    data.setdefault("weights", name if is_shipped else str(source.base_dir.resolve()))
    return tomli_w.dumps(data)


def _weight_files(parsed: PipelineConfig) -> Iterator[str]:
    """Names of the weight files that the components ask for."""
    priors = (settings.prior for settings in parsed.sources.values())
    for slot in (parsed.codec, *priors, parsed.likelihood):
        for value in slot.model_dump().values():
            if isinstance(value, str) and value.endswith(".safetensors"):
                yield value
    yield from _default_checkpoints(parsed)


def _default_checkpoints(parsed: PipelineConfig) -> Iterator[str]:
    """Files of the priors that name none."""
    for source, settings in parsed.sources.items():
        if getattr(settings.prior, "checkpoint", "") is None:
            yield prior_file(source)


def _assemble(parsed: PipelineConfig, registry: Registry, source: PipelineSource) -> None:
    from lqsep.core.separation.separator import Separator

    Separator.from_config(parsed, registry=registry, device="cpu", name=source.name)
