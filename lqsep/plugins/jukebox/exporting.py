"""From a model to checkpoints that LQVAE-separation loads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lqsep.core.components.component_config import prior_file
from lqsep.core.components.config import PipelineConfig, load_config
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import PROJECT, Kind
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.files.new_directory import new_directory
from lqsep.core.store.model_directory import Model, build_model, find_config, model_name
from lqsep.core.store.pickled_checkpoint import write_pickle
from lqsep.core.store.weights import load_weights
from lqsep.plugins.jukebox.codec_checkpoint import reference_codec
from lqsep.plugins.jukebox.codec_layout import CODEC, codebooks_of
from lqsep.plugins.jukebox.origin import origin_of
from lqsep.plugins.jukebox.prior_checkpoint import reference_prior
from lqsep.plugins.jukebox.prior_layout import PRIOR
from lqsep.plugins.jukebox.sum_table import SUMS_FILE, load_model_table, reference_table


def export_model(name: str, output: Path) -> list[Path]:
    """Write codec, priors and table of a model in the reference's layout, or nothing.

    Args:
        name: A model directory, a shipped model's name or a ``.toml`` file.
        output: The folder to make.

    Returns:
        The files.

    Raises:
        CheckpointError: The model cannot be loaded, or ``output`` holds something already.
        IncompatibleComponentsError: Not two sources, or a part is none that the reference has.
    """
    registry, path = Registry.discover(), find_config(name)
    config = load_config(path, registry)
    if len(config.sources) != 2:
        raise IncompatibleComponentsError(
            f"exporting {path}: LQVAE-separation knows 2 sources, the model has "
            f"{len(config.sources)} ({', '.join(config.sources)}); leave two tables below [sources]"
        )
    _check_parts(config, registry, model_name(path))
    with new_directory(output) as directory:
        model = build_model(config, registry, "cpu", name=model_name(path))
        tensors = _tensors(model, _codec_file(model))
        contents: dict[str, Any] = {"codec.pth.tar": _codec_checkpoint(model, tensors)}
        for source in model.priors:
            prior = _prior_checkpoint(model, source, codebooks_of(tensors))
            contents[f"prior.{source}.pth.tar"] = prior
        table = _table(model)
        if table is not None:
            contents["codebook_sums.pt"] = reference_table(table)
        for file, content in contents.items():
            write_pickle(directory / file, content)
    return [output / file for file in contents]


def _check_parts(config: PipelineConfig, registry: Registry, name: str) -> None:
    """Refuse a model whose codec or priors the reference does not have."""
    if registry.find(Kind.CODEC, config.codec.type).qualified_name != f"{PROJECT}:{CODEC}":
        raise IncompatibleComponentsError(
            f"exporting {name}: LQVAE-separation has the codec '{CODEC}' only, the model's is "
            f"'{config.codec.type}'"
        )
    for source, settings in config.sources.items():
        found = registry.find(Kind.PRIOR, settings.prior.type)
        if found.qualified_name != f"{PROJECT}:{PRIOR}":
            raise IncompatibleComponentsError(
                f"exporting {name}: LQVAE-separation has transformer priors only, the prior of "
                f"'{source}' is '{settings.prior.type}'"
            )


def _codec_checkpoint(model: Model, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    hps, step = origin_of(model.context.path(_codec_file(model)))
    return _checkpoint(*reference_codec(model.config.codec, tensors, hps), step)


def _prior_checkpoint(model: Model, source: str, codebooks: Sequence[Tensor]) -> dict[str, Any]:
    config = model.config.sources[source].prior
    file = config.model_dump()["checkpoint"] or prior_file(source)
    hps, step = origin_of(model.context.path(file))
    return _checkpoint(*reference_prior(config, _tensors(model, file), codebooks, hps), step)


def _codec_file(model: Model) -> str:
    file = model.config.codec.model_dump()["checkpoint"]
    assert isinstance(file, str)
    return file


def _tensors(model: Model, file: str) -> dict[str, Tensor]:
    """The tensors of one of the model's files."""
    path, sha256 = model.context.file(file)
    return load_weights(path, sha256=sha256).tensors


def _table(model: Model) -> Tensor | None:
    """The table of sums that the model's likelihood reads, or that lies beside the model."""
    name = getattr(model.config.likelihood, "table", None)
    path, sha256 = model.context.file(name or SUMS_FILE)
    if name is None and not path.is_file():
        return None
    return load_model_table(path, model.codec.fingerprint, sha256=sha256)


def _checkpoint(hps: dict[str, Any], state: dict[str, Tensor], step: int) -> dict[str, Any]:
    # No state of an optimiser, and no key: the reference loads whatever stands under "opt".
    tensors = OrderedDict((name, tensor.contiguous()) for name, tensor in state.items())
    return {"hps": hps, "model": tensors, "step": step}
