"""Single settings put into a configuration that is not validated yet."""

from __future__ import annotations

import tomllib
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


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one value in a configuration dictionary: ``"sampler.n_candidates=8"``.

    List items are addressed by their index: ``"refiners.0.exponent=2"``. A value that is not TOML
    is taken as a string.

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
                node[key] = value
            else:
                node = node.setdefault(key, {})
        else:
            raise ConfigError(f"cannot apply {override!r}: {where} is not a table")


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
