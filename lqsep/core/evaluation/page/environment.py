"""Templates of pages: Jinja, in which all that is filled in is escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from lqsep.core.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def page_environment() -> Environment:
    """Where templates are found, and what they may use besides their values.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ConfigError(
            "the report needs jinja2, which is not installed: pip install 'lqsep[eval]'"
        ) from error
    environment = Environment(
        loader=PackageLoader("lqsep.core.evaluation.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fixed"] = _fixed
    return environment


def _fixed(value: float | None, digits: int = 2) -> str:
    """The number, never as minus zero; a dash where there is none."""
    return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"
