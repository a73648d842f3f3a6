"""How a plugin declares its components and commands: light, importing pluggy only.

A plugin is a module, named by an entry point of the group ``lqsep``, with one hook or both::

    from collections.abc import Iterable

    from lqsep import CommandSpec, ComponentConfig, ComponentSpec, Kind, hookimpl


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


    @hookimpl
    def lqsep_commands() -> Iterable[CommandSpec]:
        yield CommandSpec("data constant", "my_package.commands:constant", "Write a constant.")

Factory and target are strings: the heavy modules behind them are imported when the component is
built, and when the command is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lqsep.core.components.component_config import ComponentConfig

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
            `lqsep.core.components.assemble.TrainContext`; returns a
            `lqsep.core.components.trainers.Trained`, or None when it has written the file that
            the setting ``checkpoint`` names. None when the component is not trained.
        train_config: The pydantic model of the trainer's settings.
        needs_data: Whether the trainer reads a data set.

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
    needs_data: bool = True

    def __post_init__(self) -> None:
        from lqsep.core.components.component_config import ComponentConfig

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
        _check_summary(self.summary, self.name)


@dataclass(frozen=True)
class CommandSpec:
    """One command as its plugin declares it.

    Args:
        path: Its place below ``lqsep``: ``"data render"``, or ``("data", "render")``. A group that
            is not there yet is made.
        target: ``"module:object"``, a `click.Command`, imported when the command is called.
        summary: One line for the help of the group it is in.

    Raises:
        ValueError: A field is not of the form described.
    """

    path: str | tuple[str, ...]
    target: str
    summary: str

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | tuple) or not self.words:
            raise ValueError(f"path must be words such as 'data render', got {self.path!r}")
        for word in self.words:
            if not (isinstance(word, str) and _NAME.fullmatch(word)):
                raise ValueError(
                    "words of a command's path must be lower-case letters, digits and single "
                    f"hyphens, got {word!r}"
                )
        if not (isinstance(self.target, str) and _TARGET.fullmatch(self.target)):
            raise ValueError(f"target must look like 'module:object', got {self.target!r}")
        _check_summary(self.summary, " ".join(self.words))

    @property
    def words(self) -> tuple[str, ...]:
        """The path, word by word."""
        return tuple(self.path.split()) if isinstance(self.path, str) else self.path


def _check_summary(summary: object, name: str) -> None:
    if not isinstance(summary, str) or not summary or "\n" in summary:
        raise ValueError(f"summary of {name!r} must be one line")


hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """The hooks that a plugin may implement; it has at least one of them."""

    @hookspec
    def lqsep_components(self) -> Iterable[ComponentSpec]:
        """Declare the plugin's components; the module docstring holds a complete example."""
        raise AssertionError("a hook specification is not called")

    @hookspec
    def lqsep_commands(self) -> Iterable[CommandSpec]:
        """Declare the plugin's commands; the module docstring holds a complete example."""
        raise AssertionError("a hook specification is not called")
