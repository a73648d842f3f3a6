"""``lqsep models``: the models that come with the package, any model directory.

Plugins bring the commands that read and write other systems' models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lqsep.cli.console.printable import one_line, print_line
from lqsep.cli.console.tables import print_table
from lqsep.cli.lazy import LazyGroup
from lqsep.core.errors import LqsepError


@click.group(cls=LazyGroup, path=("models",))
def models() -> None:
    """List, show and verify models; read and write those of other systems."""


@models.command("list")
def list_models() -> None:
    """The models that come with the package: sources, licence, size, quality and speed.

    The speed is in seconds of computation per second of audio; `lqsep models show NAME` says where
    and how both were measured.
    """
    from lqsep.core.components.overrides import read_toml
    from lqsep.core.store.model_directory import shipped_models

    facts = []
    for directory in shipped_models().values():
        path = directory / "model.toml"
        facts.append(_facts(path, read_toml(path)))
    if not facts:
        click.echo("no models come with this installation", err=True)
        return
    print_table(tuple(facts[0]), [tuple(model.values()) for model in facts])


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """All that is known of a model: NAME is a shipped model, a directory or a .toml file."""
    from lqsep.core.components.overrides import get_table, read_toml
    from lqsep.core.errors import ConfigError
    from lqsep.core.store.model_directory import find_config

    path = find_config(name)
    data = read_toml(path)
    sources = get_table(data, "sources", path)
    refiners = data.get("refiners", [])
    if not isinstance(refiners, list):
        raise ConfigError(f"{path}: refiners must be a list of tables; use [[refiners]]")
    rows = [*_facts(path, data).items(), ("directory", path.parent)]
    for section in ("codec", "likelihood", "sampler", "selector"):
        rows.append((section, _type(data.get(section))))
    for source in sources:
        settings = get_table(sources, source, path)
        prior = _type(settings.get("prior"))
        rows.append((f"source {source}", f"gain {settings.get('gain', 'default')}, prior {prior}"))
    rows.append(("refiners", ", ".join(str(_type(r)) for r in refiners)))
    for label, preset in get_table(data, "presets", path).items():
        summary = preset.get("summary", "") if isinstance(preset, dict) else ""
        rows.append((f"preset {label}", summary))
    model = get_table(data, "model", path)
    rows += _flatten({key: value for key, value in model.items() if key != "licence"})
    print_table(("field", "value"), rows)


@models.command()
@click.argument("name", required=False)
@click.pass_context
def verify(context: click.Context, name: str | None) -> None:
    """Check every file of a model against its sha256; of all shipped models without NAME."""
    from lqsep.core.store.model_directory import shipped_models, verify_model

    if name is not None:
        files = verify_model(name)
        print_line(f"{name}: {len(files)} files verified")
        return
    failures = []
    for shipped, directory in shipped_models().items():
        try:
            files = verify_model(directory)
            click.echo(f"{shipped}: {len(files)} files verified")
        except LqsepError as error:
            failures.append(error)
            click.echo(f"lqsep: error: {one_line(str(error))}", err=True)
    if failures:
        context.exit(failures[0].exit_code)


@models.group("import", cls=LazyGroup, path=("models", "import"))
def import_models() -> None:
    """Make a model of another system's files."""


@models.group("export", cls=LazyGroup, path=("models", "export"))
def export_models() -> None:
    """Write a model as another system's files."""


def _facts(path: Path, data: Mapping[str, Any]) -> dict[str, object]:
    """What one asks first of a model, by heading; None where its ``model.toml`` does not say it.

    Args:
        path: The model's file.
        data: Its content.
    """
    from lqsep.core.components.overrides import get_table
    from lqsep.core.store.model_directory import model_name

    model = get_table(data, "model", path)
    quality = get_table(model, "metrics", path).get("test_sdr_db")
    speed = get_table(model, "measured", path).get("seconds_per_second")
    return {
        "name": model_name(path),
        "sources": ", ".join(get_table(data, "sources", path)),
        "licence": model.get("licence", "not stated"),
        "size": _megabytes(path.parent),
        "test SDR (dB)": ", ".join(
            f"{key} {value}".strip() for key, value in _flatten(quality or {})
        ),
        "s per s of audio": speed,
    }


def _type(table: Any) -> Any:
    return table.get("type") if isinstance(table, Mapping) else None


def _megabytes(directory: Path) -> str:
    """Size of the model's own files: its ``model.toml`` and weights."""
    size = sum(p.stat().st_size for p in directory.glob("*.safetensors") if p.is_file())
    return f"{size / 1e6:.1f} MB"


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, object]]:
    """Nested tables as dotted names and plain values."""
    if not isinstance(value, Mapping):
        return [(prefix, value)]
    rows: list[tuple[str, object]] = []
    for key, item in value.items():
        rows += _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return rows
