"""A configuration that is not validated yet: read, and single settings put into it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lqsep.core.errors import ConfigError

# What the standard library raises; it recurses into nested values, and integers have a length.
UNREADABLE_TOML = (ValueError, RecursionError)


def toml_error(error: Exception) -> str:
    """What is wrong with a TOML text, in words."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def toml_value(text: str) -> Any:
    """A value written in TOML; what is no TOML is taken as a string.

    Raises:
        ConfigError: It is one that cannot be read, such as an integer of thousands of digits.
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except UNREADABLE_TOML as error:
        raise ConfigError(f"cannot read the value {text[:20]!r}...: {toml_error(error)}") from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as a dictionary.

    Raises:
        ConfigError: The file is missing or not TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except UNREADABLE_TOML as error:
        raise ConfigError(f"{path} is not a valid TOML file: {toml_error(error)}") from error


def get_table(data: Mapping[str, Any], key: str, where: str | Path) -> dict[str, Any]:
    """One table of a configuration that is not validated yet; empty where there is none.

    Raises:
        ConfigError: It is something else; ``where`` names the file.
    """
    table = data.get(key, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table [{key}], got {table!r}")
    return table


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> None:
    """Apply settings in order, but types first: what they change are the new component's fields.

    Raises:
        ConfigError: As `apply_override`.
    """
    for override in sorted(overrides, key=lambda setting: not _sets_a_type(setting)):
        apply_override(data, override)


def _sets_a_type(override: str) -> bool:
    return override.partition("=")[0].strip().endswith(".type")


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one value in a configuration dictionary: ``"sampler.n_candidates=8"``.

    List items are addressed by their index: ``"refiners.0.exponent=2"``. A value that is not TOML
    is taken as a string. Another ``type`` takes that component's defaults: the fields of the one
    before go.

    Raises:
        ConfigError: The setting has no ``=``, or its path leads nowhere.
    """
    path, separator, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not separator or not all(keys):
        raise ConfigError(f"cannot apply {override!r}: expected section.key=value")
    value = toml_value(text.strip())
    node: Any = data
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        where = ".".join(keys[:depth]) or "the configuration"
        if isinstance(node, list):
            if not key.isdigit() or int(key) >= len(node):
                raise ConfigError(
                    f"cannot apply {override!r}: {where} is a list of {len(node)}, "
                    f"expected an index below that, got {key!r}"
                )
            if last:
                node[int(key)] = value
            else:
                node = node[int(key)]
        elif isinstance(node, dict):
            if last:
                if key == "type" and _bare(node.get(key)) != _bare(value):
                    node.clear()
                node[key] = value
            else:
                node = node.setdefault(key, {})
        else:
            raise ConfigError(f"cannot apply {override!r}: {where} is not a table")


def _bare(name: Any) -> Any:
    """A component's name without its distribution."""
    return name.rpartition(":")[2] if isinstance(name, str) else name


def replace_component(data: dict[str, Any], section: str, name: str) -> None:
    """Put a component with its defaults into a section unless it is that type already.

    ``section`` is a dotted path such as ``sampler`` or ``sources.drums.prior``.
    """
    keys = section.split(".")
    node = data
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise ConfigError(f"cannot replace {section}: {key} is not a table")
    current = node.get(keys[-1])
    if not isinstance(current, dict) or current.get("type") != name:
        node[keys[-1]] = {"type": name}
