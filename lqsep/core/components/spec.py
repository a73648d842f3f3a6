"""How a plugin declares its components: light, importing pydantic and pluggy only.

A plugin is a module, named by an entry point of the group ``lqsep``, with one hook::

    from collections.abc import Iterable

    from lqsep import ComponentConfig, ComponentSpec, Kind, hookimpl


    class ConstantConfig(ComponentConfig):
        type: str = "constant"
        value: int = 0


    @hookimpl
    def lqsep_components() -> Iterable[ComponentSpec]:
        yield ComponentSpec(
            kind=Kind.PRIOR,
            name="constant",
            config=ConstantConfig,
            factory="my_package.constant:build_prior",
            summary="Always predicts one code",
            api_version=1,
        )

The factory is a string: the heavy module behind it is imported when the component is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import pluggy
from pydantic import BaseModel, ConfigDict

API_VERSION = 1
SUPPORTED_API_VERSIONS = frozenset({1})
PROJECT = "lqsep"

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Kind(StrEnum):
    """The seven kinds of component."""

    CODEC = "codec"
    PRIOR = "prior"
    LIKELIHOOD = "likelihood"
    SAMPLER = "sampler"
    SELECTOR = "selector"
    REFINER = "refiner"
    DATASET = "dataset"


class ComponentConfig(BaseModel):
    """Base of every component's configuration: ``type`` names the component, the rest is its own.

    Unknown fields, infinities and NaN are errors, and values are frozen. Bound the sizes: a
    configuration with absurd ones is then refused before anything is built.
    """

    # Deferred: `lqsep components` lists dozens of configurations and validates none of them.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    type: str


@dataclass(frozen=True, kw_only=True)
class ComponentSpec:
    """One component as its plugin declares it.

    Args:
        kind: What it is.
        name: Lower-case letters, digits and hyphens; the name that users write.
        config: Its pydantic model.
        factory: ``"module:callable"``, called as ``factory(config, context)`` with a
            `lqsep.core.components.assemble.BuildContext`.
        summary: One line for ``lqsep components``.
        api_version: The plugin interface the plugin was written for.
        trainer: ``"module:callable"``, called as ``trainer(config, train_config, context)`` with a
            `lqsep.core.components.assemble.TrainContext`; None when the component is not trained.
        train_config: The pydantic model of the trainer's settings.

    Raises:
        ValueError: A field is not of the form described.
    """

    kind: Kind
    name: str
    config: type[ComponentConfig]
    factory: str
    summary: str
    api_version: int
    trainer: str | None = None
    train_config: type[BaseModel] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, Kind):
            raise ValueError(f"kind must be a lqsep.Kind, got {self.kind!r}")
        if not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            raise ValueError(
                f"component name must be lower-case letters, digits and single hyphens, "
                f"got {self.name!r}"
            )
        # True == 1 would pass for version 1, and a list for no version at all.
        if type(self.api_version) is not int:
            raise ValueError(f"api_version must be an integer, got {self.api_version!r}")
        if not (isinstance(self.config, type) and issubclass(self.config, ComponentConfig)):
            raise ValueError(f"config of {self.name!r} must be a subclass of ComponentConfig")
        for field in ("factory", "trainer"):
            target = getattr(self, field)
            if field == "trainer" and target is None:
                continue
            if not (isinstance(target, str) and _TARGET.fullmatch(target)):
                raise ValueError(f"{field} must look like 'module:callable', got {target!r}")
        if not self.summary or "\n" in self.summary:
            raise ValueError(f"summary of {self.name!r} must be one line")


hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """The hooks that a plugin may implement: one."""

    @hookspec
    def lqsep_components(self) -> Iterable[ComponentSpec]:
        """Declare the plugin's components; the module docstring holds a complete example."""
        raise AssertionError("a hook specification is not called")
