"""``lqsep models``: the models that come with the package, any model directory, other systems'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lqsep.cli.lazy import LazyCommand, LazyGroup
from lqsep.cli.tables import print_table
from lqsep.core.errors import LqsepError


@click.group(cls=LazyGroup)
def models() -> None:
    """List, show and verify models; read and write those of other systems."""


@models.command("list")
def list_models() -> None:
    """The models that come with the package: sources, licence, size and measured figures."""
    from lqsep.core.config import get_table, read_toml
    from lqsep.core.model_directory import shipped_models

    rows = []
    for name, directory in shipped_models().items():
        path = directory / "model.toml"
        data = read_toml(path)
        model = get_table(data, "model", path)
        rows.append(
            (
                name,
                ", ".join(get_table(data, "sources", path)),
                model.get("licence", "not stated"),
                _megabytes(directory),
                _figures(get_table(model, "metrics", path)),
            )
        )
    if not rows:
        click.echo("no models come with this installation", err=True)
        return
    print_table(("name", "sources", "licence", "size", "measured"), rows)


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """All that is known of a model: NAME is a shipped model, a directory or a .toml file."""
    from lqsep.core.config import get_table, read_toml
    from lqsep.core.errors import ConfigError
    from lqsep.core.model_directory import find_config, model_name

    path = find_config(name)
    data = read_toml(path)
    sources = get_table(data, "sources", path)
    refiners = data.get("refiners", [])
    if not isinstance(refiners, list):
        raise ConfigError(f"{path}: refiners must be a list of tables; use [[refiners]]")
    rows: list[tuple[str, object]] = [
        ("name", model_name(path)),
        ("sources", ", ".join(sources)),
        ("size", _megabytes(path.parent)),
        ("directory", path.parent),
    ]
    rows += list(_flatten(get_table(data, "model", path)))
    for section in ("codec", "likelihood", "sampler", "selector"):
        rows.append((section, _type(data.get(section))))
    for source in sources:
        settings = get_table(sources, source, path)
        prior = _type(settings.get("prior"))
        rows.append((f"source {source}", f"gain {settings.get('gain', 'default')}, prior {prior}"))
    rows.append(("refiners", ", ".join(str(_type(r)) for r in refiners)))
    print_table(("field", "value"), rows)


@models.command()
@click.argument("name", required=False)
@click.pass_context
def verify(context: click.Context, name: str | None) -> None:
    """Check every file of a model against its sha256; of all shipped models without NAME."""
    from lqsep.core.model_directory import shipped_models, verify_model

    if name is not None:
        files = verify_model(name)
        click.echo(f"{name}: {len(files)} files verified")
        return
    failures = []
    for shipped, directory in shipped_models().items():
        try:
            files = verify_model(directory)
            click.echo(f"{shipped}: {len(files)} files verified")
        except LqsepError as error:
            failures.append(error)
            click.echo(f"lqsep: error: {error}", err=True)
    if failures:
        context.exit(failures[0].exit_code)


@models.group(
    "import",
    cls=LazyGroup,
    lazy_commands={
        "jukebox": LazyCommand(
            "lqsep.cli.models_jukebox:import_jukebox", "Checkpoints of LQVAE-separation."
        )
    },
)
def import_models() -> None:
    """Make a model of another system's files."""


@models.group(
    "export",
    cls=LazyGroup,
    lazy_commands={
        "jukebox": LazyCommand(
            "lqsep.cli.models_jukebox:export_jukebox", "Checkpoints for LQVAE-separation."
        )
    },
)
def export_models() -> None:
    """Write a model as another system's files."""


def _type(table: Any) -> Any:
    return table.get("type") if isinstance(table, Mapping) else None


def _megabytes(directory: Path) -> str:
    """Size of the model's own files: its ``model.toml`` and weights."""
    size = sum(p.stat().st_size for p in directory.glob("*.safetensors"))
    return f"{size / 1e6:.1f} MB"


def _figures(metrics: Mapping[str, Any]) -> str:
    """The whole model's figures; those of its parts, written by training, are for ``show``."""
    whole = {name: value for name, value in metrics.items() if name not in {"codec", "sources"}}
    return ", ".join(f"{name} {value}" for name, value in _flatten(whole))


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, object]]:
    """Nested tables as dotted names and plain values."""
    if not isinstance(value, Mapping):
        return [(prefix, value)]
    rows: list[tuple[str, object]] = []
    for key, item in value.items():
        rows += _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return rows
