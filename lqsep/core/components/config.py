"""The TOML file that assembles a pipeline, validated component by component.

::

    version = 1
    [codec]
    type = "lq-vae"
    [sources.drums]
    gain = 0.5
    prior = { type = "transformer", checkpoint = "prior.drums.safetensors" }
    [likelihood]
    type = "codebook-sum"
    [sampler]
    type = "ancestral"
    [selector]
    type = "mean"
    [[refiners]]
    type = "wiener"

Each slot is validated with the pydantic model that the component registered; all errors are
reported at once, each with its path.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    PydanticUserError,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.components.overrides import apply_overrides, read_toml
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import ConfigError, IncompatibleComponentsError, PluginError

# 115 days: beyond any recording, and counts of samples stay far from overflowing.
MAX_SECONDS = 1e7

# Bytes in the name of a source, which file names have something added to.
MAX_NAME = 100

ModelT = TypeVar("ModelT", bound=BaseModel)


class _SlotError(ValueError):
    """Carries the errors of a nested component through pydantic."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _slot(kind: Kind) -> BeforeValidator:
    def validate(value: Any, info: ValidationInfo) -> ComponentConfig:
        if isinstance(value, ComponentConfig):
            return value
        registry: Registry = (info.context or {})["registry"]
        if not isinstance(value, Mapping):
            raise ValueError(f"expected a table with a 'type', got {value!r}")
        name = value.get("type")
        if not isinstance(name, str):
            raise ValueError(f"the table needs a 'type', the name of a {kind}")
        try:
            model = registry.find(kind, name).spec.config
        except PluginError as error:
            raise _SlotError([f".type: {error}"]) from error
        try:
            return model.model_validate(dict(value), context=info.context)
        except ValidationError as error:
            raise _SlotError(_lines(error, "")) from error
        except (PydanticUserError, NameError) as error:
            # Configurations are built on first use: here a plugin's own mistake comes to light.
            raise _SlotError([f": the settings of {kind} '{name}' are faulty: {error}"]) from error

    return BeforeValidator(validate)


CodecSlot = Annotated[SerializeAsAny[ComponentConfig], _slot(Kind.CODEC)]
PriorSlot = Annotated[SerializeAsAny[ComponentConfig], _slot(Kind.PRIOR)]
LikelihoodSlot = Annotated[SerializeAsAny[ComponentConfig], _slot(Kind.LIKELIHOOD)]
SamplerSlot = Annotated[SerializeAsAny[ComponentConfig], _slot(Kind.SAMPLER)]
SelectorSlot = Annotated[SerializeAsAny[ComponentConfig], _slot(Kind.SELECTOR)]
RefinerSlot = Annotated[SerializeAsAny[ComponentConfig], _slot(Kind.REFINER)]
DatasetSlot = Annotated[SerializeAsAny[ComponentConfig], _slot(Kind.DATASET)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceConfig(_Section):
    """One source: its linear factor in the mixture, and its prior."""

    gain: float = Field(
        default=0.5, gt=0, le=1000, description="Linear factor of the source in the mixture"
    )
    prior: PriorSlot


class PipelineSection(_Section):
    """How long inputs are cut."""

    segment: float = Field(
        default=12.0, gt=0, le=MAX_SECONDS, description="Seconds separated at a time"
    )
    overlap: float = Field(
        default=0.1, ge=0, lt=1, description="Share of a segment that overlaps the next one"
    )
    prime: bool = Field(
        default=True, description="Start a segment from the previous one's last codes"
    )


class DataConfig(_Section):
    """Data sets for training."""

    train: DatasetSlot
    validation: DatasetSlot | None = None


class TrainTables(_Section):
    """Settings of the trainers; validated with each component's own model when training."""

    codec: dict[str, Any] = Field(default_factory=dict)
    prior: dict[str, Any] = Field(default_factory=dict)
    likelihood: dict[str, Any] = Field(default_factory=dict)
    selector: dict[str, Any] = Field(default_factory=dict)
    refiner: dict[str, Any] = Field(default_factory=dict)

    def of(self, kind: Kind) -> dict[str, Any]:
        """The table of a kind that can be trained."""
        found = getattr(self, kind.value)
        assert isinstance(found, dict)
        return found


class PresetConfig(_Section):
    """A point on the curve between speed and quality, chosen by its name."""

    summary: str = Field(description="What it is good for and what it costs, as measured")
    settings: tuple[str, ...] = Field(description="section.key=value, as with --set")


class PipelineConfig(_Section):
    """A whole pipeline. Source names are the tables below ``[sources]``, in their order."""

    version: Literal[1] = 1
    model: dict[str, Any] = Field(default_factory=dict, description="Free metadata")
    weights: str | None = Field(
        default=None,
        min_length=1,
        description="The model whose weights are used, a shipped name or a directory; default: "
        "the files beside this one",
    )
    codec: CodecSlot
    sources: dict[str, SourceConfig] = Field(min_length=1)
    likelihood: LikelihoodSlot
    sampler: SamplerSlot
    selector: SelectorSlot
    refiners: tuple[RefinerSlot, ...] = ()
    pipeline: PipelineSection = PipelineSection()
    presets: dict[str, PresetConfig] = Field(
        default_factory=dict, description="Named settings; 'default' is the file as it is"
    )
    data: DataConfig | None = None
    train: TrainTables = TrainTables()

    _base_dir: Path = PrivateAttr(default=Path("."))

    @field_validator("sources")
    @classmethod
    def _names(cls, sources: dict[str, SourceConfig]) -> dict[str, SourceConfig]:
        for name in sources:
            # Dots separate the parts of a setting's path.
            is_file_name = name == os.path.basename(name) and len(name.encode()) <= MAX_NAME
            if not name or not is_file_name or "." in name or not name.isprintable():
                raise ValueError(
                    f"{name[:MAX_NAME]!r} cannot be a source: its name must do as a file name, "
                    "without dots and control characters"
                )
            if name in {"mixture", "residual"}:
                raise ValueError(f"{name!r} cannot be a source: the name has a meaning of its own")
        return sources

    @field_validator("model")
    @classmethod
    def _files(cls, model: dict[str, Any]) -> dict[str, Any]:
        file_hashes(model)
        return model

    @field_validator("refiners", mode="before")
    @classmethod
    def _list_of_refiners(cls, refiners: Any) -> Any:
        if isinstance(refiners, Mapping):
            raise ValueError("expected a list of tables; use [[refiners]]")
        return refiners

    @property
    def base_dir(self) -> Path:
        """Where relative paths start: the folder of the file."""
        return self._base_dir

    @property
    def gains(self) -> tuple[float, ...]:
        """Gain of every source, in order."""
        return tuple(source.gain for source in self.sources.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as TOML can hold them (unset values left out)."""
        return self.model_dump(mode="json", exclude_none=True)


def same_gains(stored: Sequence[float], gains: Sequence[float]) -> bool:
    """Whether what was made for some gains is right for these, but for rounding."""
    return all(math.isclose(a, b) for a, b in zip(stored, gains, strict=True))


def check_two_sources(sources: Sequence[object], where: str | Path = "the pipeline") -> None:
    """Refuse to separate into any number of sources but two; training takes any.

    Args:
        sources: Their names, or what there is one of per source, such as gains.
        where: A file, a model or a component, for the message.

    Raises:
        IncompatibleComponentsError: There are not two.
    """
    if len(sources) != 2:
        raise IncompatibleComponentsError(
            f"{where}: separation works on 2 sources, got {len(sources)} "
            f"({', '.join(map(str, sources))}); "
            "leave two tables below [sources]"
        )


def file_hashes(model: Mapping[str, Any]) -> dict[str, str] | None:
    """``[model.files]``: sha256 by file name; None where the table is not there.

    Raises:
        ValueError: It is something else.
    """
    files = model.get("files")
    if files is None:
        return None
    if not isinstance(files, Mapping) or not all(isinstance(v, str) for v in files.values()):
        raise ValueError("[model.files] must map file names to sha256 strings")
    return dict(files)


def load_config(
    path: str | Path, registry: Registry, overrides: Sequence[str] = ()
) -> PipelineConfig:
    """Read and validate a pipeline configuration.

    Args:
        path: The TOML file; relative paths in it start at its folder.
        registry: Where components are looked up.
        overrides: ``"section.key=value"`` settings, applied in order; values are TOML.

    Raises:
        ConfigError: Every mistake found, each with its path.
    """
    data = read_toml(path)
    apply_overrides(data, overrides)
    where = f"{path}, as changed by {', '.join(overrides)}" if overrides else str(path)
    return parse_config(data, registry, base_dir=Path(path).parent, name=where)


def parse_config(
    data: Mapping[str, Any],
    registry: Registry,
    base_dir: str | Path = ".",
    name: str = "configuration",
) -> PipelineConfig:
    """Validate a configuration given as a dictionary; see `load_config`."""
    try:
        config = PipelineConfig.model_validate(dict(data), context={"registry": registry})
    except ValidationError as error:
        lines = _lines(error, "")
        text = "; ".join(line.removeprefix(".") for line in lines)
        raise ConfigError(f"{name}: {text}") from error
    config._base_dir = Path(base_dir)
    return config


def parse_settings(model: type[ModelT], data: Mapping[str, Any], name: str) -> ModelT:
    """Validate one table on its own, such as a trainer's settings.

    Raises:
        ConfigError: Every mistake found, each with its path below ``name``.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        lines = "; ".join(line.removeprefix(".") for line in _lines(error, ""))
        raise ConfigError(f"{name}: {lines}") from error


def _lines(error: ValidationError, prefix: str) -> list[str]:
    """One line per mistake, ``.path.to.field: message``."""
    lines: list[str] = []
    for item in error.errors(include_url=False):
        path = prefix + "".join(f".{part}" for part in item["loc"])
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, _SlotError):
            lines.extend(f"{path}{line}" for line in cause.lines)
            continue
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown field"
        elif item["type"] == "missing":
            message = "required, but missing"
        elif ", got " not in message and not isinstance(
            item["input"], Mapping | list | ComponentConfig
        ):
            message = f"{message[0].lower()}{message[1:]}, got {item['input']!r}"
        lines.append(f"{path}: {message}")
    return lines
