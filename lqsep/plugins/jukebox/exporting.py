"""From a model to checkpoints that LQVAE-separation loads."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqsep.core.components.spec import PROJECT, Kind
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError
from lqsep.plugins.codebook_sum.config import SUMS_FILE
from lqsep.plugins.jukebox.importing import HPS_KEY, STEP_KEY

if TYPE_CHECKING:
    from torch import Tensor

    from lqsep.core.components.config import PipelineConfig
    from lqsep.core.components.registry import Registry
    from lqsep.core.store.model_directory import Model
    from lqsep.plugins.lqvae.codec import LQVAECodec


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
    from lqsep.core.components.config import load_config
    from lqsep.core.components.registry import Registry
    from lqsep.core.store.model_directory import build_model, find_config, model_name
    from lqsep.core.store.new_directory import new_directory
    from lqsep.core.store.pickled_checkpoint import write_pickle
    from lqsep.plugins.jukebox.sum_table import reference_table

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
        contents: dict[str, Any] = {"codec.pth.tar": _codec_checkpoint(model)}
        for source in model.priors:
            contents[f"prior.{source}.pth.tar"] = _prior_checkpoint(model, source)
        table = _table(model)
        if table is not None:
            contents["codebook_sums.pt"] = reference_table(table)
        for file, content in contents.items():
            write_pickle(directory / file, content)
    return [output / file for file in contents]


def _check_parts(config: PipelineConfig, registry: Registry, name: str) -> None:
    """Refuse a model whose codec or priors the reference does not have."""
    if registry.find(Kind.CODEC, config.codec.type).qualified_name != f"{PROJECT}:lq-vae":
        raise IncompatibleComponentsError(
            f"exporting {name}: LQVAE-separation has the codec 'lq-vae' only, the model's is "
            f"'{config.codec.type}'"
        )
    for source, settings in config.sources.items():
        found = registry.find(Kind.PRIOR, settings.prior.type)
        if found.qualified_name != f"{PROJECT}:transformer":
            raise IncompatibleComponentsError(
                f"exporting {name}: LQVAE-separation has transformer priors only, the prior of "
                f"'{source}' is '{settings.prior.type}'"
            )


def _codec_checkpoint(model: Model) -> dict[str, Any]:
    from lqsep.plugins.jukebox.codec_checkpoint import reference_codec
    from lqsep.plugins.lqvae.config import LQVAEConfig

    codec, config = _codec(model), model.config.codec
    assert isinstance(config, LQVAEConfig)
    hps, step = _origin(model.config.base_dir / config.checkpoint)
    return _checkpoint(*reference_codec(config, codec.model, hps), step)


def _prior_checkpoint(model: Model, source: str) -> dict[str, Any]:
    from lqsep.plugins.jukebox.prior_checkpoint import reference_prior
    from lqsep.plugins.transformer.config import TransformerConfig
    from lqsep.plugins.transformer.factory import checkpoint_name
    from lqsep.plugins.transformer.prior import TransformerPrior

    prior, config = model.priors[source], model.config.sources[source].prior
    assert isinstance(prior, TransformerPrior) and isinstance(config, TransformerConfig)
    networks = _codec(model).model
    codebooks = [networks.codebook(level) for level in range(networks.levels)]
    path = model.config.base_dir / (config.checkpoint or checkpoint_name(source))
    hps, step = _origin(path)
    return _checkpoint(*reference_prior(config, prior.model, codebooks, hps), step)


def _codec(model: Model) -> LQVAECodec:
    from lqsep.plugins.lqvae.codec import LQVAECodec

    assert isinstance(model.codec, LQVAECodec)
    return model.codec


def _table(model: Model) -> Tensor | None:
    """The table of sums that the model's likelihood reads, or that lies beside the model."""
    from lqsep.core.store.weights import check_codec_fingerprint
    from lqsep.plugins.codebook_sum.table import load_table

    name = getattr(model.config.likelihood, "table", None)
    if name is None and (model.config.base_dir / SUMS_FILE).is_file():
        name = SUMS_FILE
    if name is None:
        return None
    path = model.config.base_dir / name
    stored = load_table(path, sha256=(model.context.hashes or {}).get(name))
    metadata = {"codec_fingerprint": stored.codec_fingerprint}
    check_codec_fingerprint(path, metadata, model.codec.fingerprint)
    return stored.table


def _origin(path: Path) -> tuple[dict[str, Any], int]:
    """Settings and step of the checkpoint that weights were imported from; nothing and 0 if none.

    Raises:
        CheckpointError: They cannot be read.
    """
    from lqsep.core.store.weights import read_header

    metadata = read_header(path).metadata
    try:
        hps = json.loads(metadata.get(HPS_KEY, "{}"))
        step = int(metadata.get(STEP_KEY, "0"))
    except ValueError as error:
        raise CheckpointError(f"{path}: its settings of the import are damaged: {error}") from error
    return {key: _with_tuples(value) for key, value in hps.items()}, step


def _with_tuples(value: Any) -> Any:
    """JSON knows lists only; the reference's settings are tuples."""
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return value


def _checkpoint(hps: dict[str, Any], state: dict[str, Tensor], step: int) -> dict[str, Any]:
    # No state of an optimiser: the reference then starts its own.
    tensors = OrderedDict((name, tensor.contiguous()) for name, tensor in state.items())
    return {"hps": hps, "model": tensors, "opt": None, "step": step}
