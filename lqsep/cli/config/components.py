"""``lqsep components``: what is installed, what its settings are, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lqsep.cli.config.shadowed_commands import shadowed_commands
from lqsep.cli.console.tables import print_table
from lqsep.cli.lazy import LazyGroup
from lqsep.core.components.registry import RegisteredComponent, Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import PluginError

_KIND = click.Choice([kind.value for kind in Kind])
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of"}
_LENGTHS = {"min_length": "at least {} long", "max_length": "at most {} long"}


@click.group(cls=LazyGroup, path=("components",), invoke_without_command=True)
@click.option("--kind", type=_KIND, help="Components of this kind only.")
@click.option(
    "--block",
    "blocked",
    multiple=True,
    metavar="NAME",
    help="Leave out a plugin or distribution; may be repeated.",
)
@click.pass_context
def components(context: click.Context, kind: str | None, blocked: tuple[str, ...]) -> None:
    """List components and plugins.

    Without a further command: kind, name, provider and summary of every component, then the
    plugins that could not be used. Faulty plugins are listed, they are no failure.
    """
    if context.invoked_subcommand is not None:
        return
    registry = Registry.discover(blocked=blocked)
    found = registry.components(Kind(kind) if kind else None)
    print_table(
        ("kind", "name", "provider", "summary"),
        [
            (c.spec.kind, c.spec.name, f"{c.distribution} {c.version}", c.spec.summary)
            for c in found
        ],
    )
    problems = [*registry.problems, *shadowed_commands(registry, context.find_root().command)]
    if problems:
        click.echo()
        print_table(
            ("problem with", "distribution", "stage", "error"),
            [(p.plugin, p.distribution, p.stage, p.error) for p in problems],
        )


@components.command()
@click.argument("kind", type=_KIND)
@click.argument("name")
@click.option("--schema", is_flag=True, help="Print the JSON schema of the settings.")
@click.pass_context
def show(context: click.Context, kind: str, name: str, schema: bool) -> None:
    """Settings of one component: type, default and meaning of each."""
    assert context.parent is not None
    registry = Registry.discover(blocked=context.parent.params["blocked"])
    component = registry.find(Kind(kind), name)
    if schema:
        click.echo(json.dumps(_schema(component), indent=2))
        return
    spec = component.spec
    click.echo(f"{spec.kind} {spec.name}: {spec.summary}")
    click.echo(f"provider: {component.distribution} {component.version}")
    click.echo(f"factory: {spec.factory}")
    click.echo()
    _print_fields(spec.config, "settings")
    if spec.trainer is not None:
        click.echo()
        click.echo(f"trainer: {spec.trainer}")
    if spec.train_config is not None:
        click.echo()
        _print_fields(spec.train_config, "training settings")


def field_rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and description of every field; fields of nested models are dotted."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from field_rows(annotation, f"{prefix}{name}.")
            continue
        yield prefix + name, _type_name(field), _default(field), field.description or ""


def _print_fields(model: type[BaseModel], title: str) -> None:
    print_table((title, "type", "default", "meaning"), list(field_rows(model)))


def _schema(component: RegisteredComponent) -> dict[str, Any]:
    try:
        return component.spec.config.model_json_schema()
    except Exception as error:  # whatever a plugin's model does not support
        raise PluginError(
            f"{component.spec.kind} '{component.qualified_name}' has settings without a JSON "
            f"schema: {type(error).__name__}: {error}"
        ) from error


def _type_name(field: FieldInfo) -> str:
    annotation = field.annotation
    plain = isinstance(annotation, type) and not hasattr(annotation, "__args__")
    text = annotation.__name__ if plain else str(annotation)  # type: ignore[union-attr]
    text = text.replace("typing.", "").replace("pathlib.", "").replace("NoneType", "None")
    limits = []
    for item in field.metadata:
        for name, sign in _BOUNDS.items():
            if getattr(item, name, None) is not None:
                limits.append(f"{sign} {getattr(item, name)}")
        for name, phrase in _LENGTHS.items():
            if getattr(item, name, None) is not None:
                limits.append(phrase.format(getattr(item, name)))
    return ", ".join([text, *limits])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    try:
        default = field.get_default(call_default_factory=True)
    except (TypeError, ValueError):  # the factory asks for the other fields
        return "computed"
    return json.dumps(default, default=str)
