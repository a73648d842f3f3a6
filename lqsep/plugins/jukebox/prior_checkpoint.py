"""Transformer priors in checkpoints of the reference implementation, both ways.

Every size comes from the checkpoint's settings (its ``hps``) and must agree with its tensors; what
the settings leave out is read off the tensors where these show it. The reference keeps the codec's
codebooks inside each prior: they come back beside it, to be compared with the codec's own.

Reference: Mancusi et al. 2021, arXiv:2110.05313, whose priors are Jukebox's (arXiv:2005.00341).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.components.config import parse_settings
from lqsep.core.errors import CheckpointError, ConfigError
from lqsep.core.store.pickled_checkpoint import PickledCheckpoint
from lqsep.core.store.weights import name_mismatch, shape_mismatch
from lqsep.plugins.jukebox.prior_layout import PriorSizes, prior_tensors
from lqsep.plugins.jukebox.prior_names import (
    config_from_reference,
    from_reference,
    to_reference,
)

_ATTENTION = "prior.transformer._attn_mods.0.attn.c_proj.w"
_MLP = "prior.transformer._attn_mods.0.mlp.c_proj.w"
_ANY_LAYER = re.compile(r"prior\.transformer\._attn_mods\.\d+\.ln_0\.bias")
_CODEBOOK = "prior.bottleneck.level_blocks.{}.k"


@dataclass(frozen=True)
class ReferencePrior:
    """A prior as read from a checkpoint.

    Args:
        config: Its configuration.
        tensors: Its weights under our names, float32.
        codebooks: The codec's codebooks that it carries, by level from the finest.
    """

    config: ComponentConfig
    tensors: dict[str, Tensor]
    codebooks: tuple[Tensor, ...]


def read_prior(checkpoint: PickledCheckpoint, settings: type[ComponentConfig]) -> ReferencePrior:
    """Configuration, weights and codebooks of a prior's checkpoint.

    Args:
        checkpoint: As it was read.
        settings: The configuration model of ``transformer``.

    Raises:
        CheckpointError: It is no prior's, has tensors that are missing, unknown or of sizes other
            than its settings say, or an architecture that lqsep does not have.
    """
    path, state = checkpoint.path, checkpoint.tensors
    if any(name.startswith(("encoders.", "decoders.")) for name in state):
        raise CheckpointError(
            f"{path} is a codec's checkpoint, expected a prior's (prior.transformer...); give it "
            "with --codec"
        )
    try:
        if checkpoint.hps.get("res_scale"):
            raise CheckpointError(
                f"its settings have res_scale = {checkpoint.hps['res_scale']!r}; lqsep knows "
                "priors without scaled residuals only"
            )
        codebooks = _codebooks(checkpoint)
        config = _config(checkpoint.hps, _sizes(state), settings)
        _check_tensors(checkpoint, PriorSizes.of(config), codebooks)
        return ReferencePrior(config, from_reference(state), codebooks)
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def reference_prior(
    config: ComponentConfig,
    tensors: Mapping[str, Tensor],
    codebooks: Sequence[Tensor],
    hps: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and tensors of the reference for a prior, in the reference's order.

    Args:
        config: A configuration of ``transformer``.
        tensors: Those of its file, of the sizes that it says.
        codebooks: The codec's, by level from the finest; the prior is of the last one's codes.
        hps: Further settings, such as those of the checkpoint that the prior was imported from.
    """
    prior = PriorSizes.of(config)
    factored = prior.attention == "factored"
    sizes = {
        "prior": True,
        "level": len(codebooks) - 1,
        "levels": len(codebooks),
        "l_bins": len(codebooks[-1]),
        "emb_width": codebooks[-1].shape[1],
        "prior_width": prior.width,
        "prior_depth": prior.depth,
        "heads": prior.heads,
        "n_ctx": prior.max_frames,
        "attn_order": 2 if factored else 0,
        "blocks": prior.blocks if factored else hps.get("blocks"),
        "m_attn": prior.m_attn,
        "m_mlp": prior.m_mlp,
    }
    state = to_reference({name: tensor.float() for name, tensor in tensors.items()})
    state |= {_CODEBOOK.format(level): book for level, book in enumerate(codebooks)}
    ordered = {name: state[name] for name in prior_tensors(prior, codebooks)}
    assert len(ordered) == len(state)
    return {**hps, "res_scale": False, **sizes}, ordered


def _codebooks(checkpoint: PickledCheckpoint) -> tuple[Tensor, ...]:
    """The codebooks that a prior carries; it must be of the last one's codes."""
    codebooks: list[Tensor] = []
    while (name := _CODEBOOK.format(len(codebooks))) in checkpoint.tensors:
        codebooks.append(checkpoint.tensors[name])
    if not codebooks:
        raise CheckpointError(f"expected the codec's codebooks in a prior, but {name!r} is missing")
    if any(codebook.ndim != 2 for codebook in codebooks):
        raise CheckpointError("expected the codec's codebooks in a prior to be matrices")
    level = checkpoint.hps.get("level", len(codebooks) - 1)
    if level != len(codebooks) - 1:
        raise CheckpointError(
            f"it is a prior of level {level}, expected one of the top level, {len(codebooks) - 1}; "
            "separation happens there"
        )
    return tuple(codebooks)


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the tensors show, under the names of the settings."""
    names = ("prior.x_out.weight", "prior.x_embs.weight", "prior.pos_emb.pos_emb", _ATTENTION, _MLP)
    for name in names:
        if name not in state or state[name].ndim != 2 or not state[name].numel():
            raise CheckpointError(f"expected a matrix {name!r}, which is missing or none")
    (l_bins, width), (_, emb_width), (n_ctx, _), (inner, _), (hidden, _) = (
        state[name].shape for name in names
    )
    return {
        "prior_width": width,
        # Counted: a name may claim any number.
        "prior_depth": sum(_ANY_LAYER.fullmatch(name) is not None for name in state),
        "n_ctx": n_ctx,
        "l_bins": l_bins,
        "emb_width": emb_width,
        "m_attn": _share(inner, width),
        "m_mlp": _share(hidden, width),
    }


def _share(size: int, width: int) -> float:
    """The factor whose product with ``width``, cut to an integer, is ``size``."""
    share = size / width
    return share if int(share * width) == size else math.nextafter(share, math.inf)


def _config(
    hps: Mapping[str, Any], shown: Mapping[str, Any], settings: type[ComponentConfig]
) -> ComponentConfig:
    """Configuration from the settings, completed from and compared with the tensors' sizes."""
    given = {**shown, **hps}
    if given.get("attn_order") == 0:
        given.setdefault("blocks", None)
    config = parse_settings(settings, config_from_reference(given), "its settings")
    said = PriorSizes.of(config)
    for key, value, found in (
        ("prior_width", said.width, shown["prior_width"]),
        ("prior_depth", said.depth, shown["prior_depth"]),
        ("n_ctx", said.max_frames, shown["n_ctx"]),
        ("l_bins", given["l_bins"], shown["l_bins"]),
        ("emb_width", given["emb_width"], shown["emb_width"]),
        ("m_attn x prior_width", *_products(said.m_attn, shown["m_attn"], said.width)),
        ("m_mlp x prior_width", *_products(said.m_mlp, shown["m_mlp"], said.width)),
    ):
        if value != found:
            raise CheckpointError(f"its settings have {key} = {value}, its tensors {found}")
    return config


def _products(said: float, shown: float, width: int) -> tuple[int, int]:
    return int(said * width), int(shown * width)


def _check_tensors(
    checkpoint: PickledCheckpoint, sizes: PriorSizes, codebooks: Sequence[Tensor]
) -> None:
    """Names and shapes, under the reference's names: those that the user's file has."""
    expected = prior_tensors(sizes, codebooks)
    mismatch = name_mismatch(expected, checkpoint.tensors)
    if mismatch is not None:
        raise CheckpointError(f"it is not a whole prior: {mismatch}")
    mismatch = shape_mismatch(expected, checkpoint.tensors)
    if mismatch is not None:
        raise CheckpointError(f"{mismatch} by its settings")
