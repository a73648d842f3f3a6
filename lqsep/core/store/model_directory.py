"""Model directories: a pipeline configuration, its weights and what is known of them.

::

    drums-bass/
        model.toml                      pipeline configuration plus [model]
        codec.safetensors
        prior.drums.safetensors
        prior.bass.safetensors
        sums.safetensors                optional

``[model]`` holds version, licence, training data, recipe, measured figures and, in
``[model.files]``, the sha256 of each file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
import torch

from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.config import PipelineConfig, file_hashes, load_config
from lqsep.core.components.overrides import get_table, read_toml
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import (
    CheckpointError,
    ConfigError,
    IncompatibleComponentsError,
)
from lqsep.core.files.new_file import new_file, system_words
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.prior import Prior
from lqsep.core.store.devices import resolve_device
from lqsep.core.store.weights import file_hash

MODEL_FILE = "model.toml"


@dataclass(frozen=True)
class Model:
    """A loaded codec and its priors.

    Args:
        name: Of the directory or configuration file.
        codec: Built, on the device.
        priors: By source name, in the order of the configuration.
        config: The pipeline's configuration.
        device: Where the tensors live.
        context: For building further components of the pipeline.
    """

    name: str
    codec: Codec
    priors: Mapping[str, Prior]
    config: PipelineConfig
    device: torch.device
    context: BuildContext


def shipped_models() -> dict[str, Path]:
    """Directories of the models that come with the package, by name."""
    root = Path(str(resources.files("lqsep"))) / "models"
    if not root.is_dir():
        return {}
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{MODEL_FILE}"))}


def find_config(name: str | Path) -> Path:
    """The configuration file behind a shipped model's name, a directory or a ``.toml`` file.

    Raises:
        CheckpointError: There is no such model, or it cannot be looked at.
    """
    if not str(name):
        raise CheckpointError("the name of a model must not be empty")
    path = Path(name)
    if path.suffix == ".toml" and os.path.isfile(path):
        return path
    if os.path.isfile(path / MODEL_FILE):
        return path / MODEL_FILE
    shipped = shipped_models()
    if str(name) in shipped:
        return shipped[str(name)] / MODEL_FILE
    try:
        os.stat(path / MODEL_FILE)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if os.path.isdir(path):
        raise CheckpointError(f"no {MODEL_FILE} in {path}: it is not a model directory")
    known = ", ".join(shipped) or "none"
    raise CheckpointError(
        f"no model named '{name}': expected a directory with a {MODEL_FILE}, a .toml file, or a "
        f"shipped model ({known})"
    )


def model_name(config_path: Path) -> str:
    """How a model is called in output paths: its directory's name, or the file's stem."""
    if config_path.name == MODEL_FILE:
        return config_path.resolve().parent.name
    return config_path.stem


def load_model(
    name: str | Path,
    device: str | torch.device = "cpu",
    *,
    registry: Registry | None = None,
    overrides: Sequence[str] = (),
) -> Model:
    """Load codec and priors of a model.

    Args:
        name: A shipped model's name, a model directory, or a ``.toml`` configuration.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or a device.
        registry: Where components are looked up; discovered when None.
        overrides: ``"section.key=value"`` settings.

    Raises:
        CheckpointError: A model or its weights are missing, damaged or do not belong together.
        ConfigError: The configuration is wrong.
        DeviceError: The device is not available.
    """
    registry = registry or Registry.discover()
    path = find_config(name)
    config = load_config(path, registry, overrides)
    return build_model(config, registry, device, name=model_name(path))


def weights_folder(config: PipelineConfig) -> tuple[Path, dict[str, str] | None]:
    """Where a configuration's weights lie, and what their sha256 are declared to be.

    Raises:
        CheckpointError: The model that it takes its weights from is not there.
    """
    if config.weights is None:
        return config.base_dir, file_hashes(config.model)
    beside = config.base_dir / config.weights
    found = find_config(beside if beside.is_dir() else config.weights)
    return found.parent, declared_hashes(found)


def build_model(
    config: PipelineConfig, registry: Registry, device: str | torch.device, *, name: str
) -> Model:
    """Build codec and priors of a validated configuration; see `load_model` for the errors."""
    context = build_codec(config, registry, device)
    codec = context.codec
    assert codec is not None
    priors: dict[str, Prior] = {}
    for source, settings in config.sources.items():
        registered = registry.find(Kind.PRIOR, settings.prior.type)
        priors[source] = build(registered, settings.prior, replace(context, source=source))
    mismatches = [
        f"prior '{source}' predicts {prior.info.codebook_size} codes, but the codec has "
        f"{codec.codebook_size(index)} for it"
        for index, (source, prior) in enumerate(priors.items())
        if prior.info.codebook_size != codec.codebook_size(index)
    ]
    if mismatches:
        raise IncompatibleComponentsError(
            f"{name}: {'; '.join(mismatches)}; use priors trained on this codec"
        )
    return Model(name, codec, priors, config, context.device, context)


def build_codec(
    config: PipelineConfig, registry: Registry, device: str | torch.device
) -> BuildContext:
    """Build the codec of a validated configuration: where everything else is built.

    Raises:
        CheckpointError: Its weights are missing, damaged or not those of the configuration.
        DeviceError: The device is not available.
    """
    weights_dir, hashes = weights_folder(config)
    context = BuildContext(
        device=resolve_device(device),
        dtype=torch.float32,
        sources=tuple(config.sources),
        gains=config.gains,
        base_dir=config.base_dir,
        weights_dir=weights_dir,
        hashes=hashes,
    )
    codec: Codec = build(registry.find(Kind.CODEC, config.codec.type), config.codec, context)
    return replace(context, codec=codec)


def declared_hashes(path: str | Path) -> dict[str, str] | None:
    """``[model.files]`` of a configuration file: sha256 by file name; None where there is none.

    Raises:
        ConfigError: The file cannot be read, or the table is not one of strings.
    """
    try:
        return file_hashes(get_table(read_toml(path), "model", path))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def verify_model(name: str | Path) -> dict[str, str]:
    """Check every file of a model against its sha256.

    Returns:
        The verified hashes by file name.

    Raises:
        CheckpointError: A file is missing, or is not what ``model.toml`` says; all are named.
    """
    path = find_config(name)
    declared = declared_hashes(path)
    if not declared:
        raise CheckpointError(f"{path} declares no [model.files]: there is nothing to verify")
    problems = []
    for file, expected in declared.items():
        if not os.path.isfile(path.parent / file):
            problems.append(f"{file} is missing")
        elif file_hash(path.parent / file) != expected:
            problems.append(f"{file} has another sha256 than declared")
    if problems:
        raise CheckpointError(f"{path.parent}: {'; '.join(problems)}; restore the files")
    return declared


def update_model_toml(
    directory: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    files: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """Write or update the ``model.toml`` of a directory, atomically.

    Args:
        directory: The model directory.
        config: The pipeline as a dictionary, used where there is no ``model.toml`` yet, without
            its ``data`` and ``train`` tables.
        files: Names of weight files whose sha256 is (re)computed into ``[model.files]``.
        changes: Dotted paths and their new values, such as
            ``{"codec.checkpoint": "codec.safetensors"}``.

    Raises:
        ConfigError: There is neither a ``model.toml`` nor a ``config``.
        CheckpointError: A file of ``files`` is missing, or the description cannot be written.
    """
    directory = Path(directory)
    path = directory / MODEL_FILE
    if path.is_file():
        data = read_toml(path)
    elif config is not None:
        data = {key: value for key, value in config.items() if key not in {"data", "train"}}
    else:
        raise ConfigError(f"no {MODEL_FILE} in {directory}: it is not a model directory")
    for dotted, value in (changes or {}).items():
        node = data
        *parents, last = dotted.split(".")
        for key in parents:
            node[key] = node = get_table(node, key, path)
        node[last] = value
    data["model"] = model = get_table(data, "model", path)
    model["files"] = hashes = get_table(model, "files", path)
    for file in files:
        hashes[file] = file_hash(directory / file)
    try:
        with new_file(path) as part:
            part.write_text(tomli_w.dumps(data), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {system_words(error)}") from error
    return path
