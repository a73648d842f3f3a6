"""Settings of built-in components cannot be absurd: sizes have bounds, numbers are finite."""

import typing

import annotated_types
import pytest

from lqsep import ComponentConfig, Registry

CONFIGS = {
    registered.qualified_name: registered.spec.config
    for registered in Registry.discover().components()
    if registered.distribution == "lqsep"
}


def is_integer(annotation: object) -> bool:
    """Alone, or where there may be none."""
    return annotation is int or set(typing.get_args(annotation)) == {int, type(None)}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_every_integer_has_an_upper_bound(config: type[ComponentConfig]) -> None:
    unbounded = [
        name
        for name, field in config.model_fields.items()
        if is_integer(field.annotation)
        and not any(
            isinstance(part, annotated_types.Le | annotated_types.Lt) for part in field.metadata
        )
        and name != "seed"
    ]
    assert unbounded == []


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_every_number_is_finite(config: type[ComponentConfig]) -> None:
    assert config.model_config.get("allow_inf_nan") is False
