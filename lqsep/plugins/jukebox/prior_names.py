"""Names and sizes of the transformer prior in checkpoints of the reference implementation.

Both directions are pure functions over state dicts. The reference stores its matrices as
``(inputs, outputs)``, the transpose of `torch.nn.Linear`, and the codec's codebooks beside them,
which have no place in a prior and are left out.

Reference: Mancusi et al. 2021, arXiv:2110.05313, whose priors are Jukebox's (arXiv:2005.00341).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lqsep.core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_TOP = {
    "prior.x_embs.weight": "embedding.weight",
    "prior.start_token": "start",
    "prior.pos_emb.pos_emb": "positions",
    "prior.x_out.weight": "output.weight",
}
_PARTS = {
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "ln_0": "attention_norm",
    "ln_1": "mlp_norm",
    "mlp.c_fc": "mlp.hidden",
    "mlp.c_proj": "mlp.out",
}
_KINDS = {"w": "weight", "b": "bias", "weight": "weight", "bias": "bias"}
_LAYER = re.compile(
    r"prior\.transformer\._attn_mods\.(\d+)\.(ln_[01]|(?:attn|mlp)\.c_\w+)\.(w|b|weight|bias)"
)
_CODEBOOK = re.compile(r"prior\.bottleneck\.level_blocks\.\d+\.k")

_TOP_BACK = {own: reference for reference, own in _TOP.items()}
_PARTS_BACK = {own: reference for reference, own in _PARTS.items()}
_OWN_LAYER = re.compile(r"blocks\.(\d+)\.(\w+(?:\.\w+)?)\.(weight|bias)")


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict of a reference state dict; half-precision matrices become float32.

    Raises:
        CheckpointError: A name is not one of the reference's unconditional priors.
    """
    own = {}
    for name, tensor in state.items():
        name = name.removeprefix("module.")
        if _CODEBOOK.fullmatch(name):
            continue
        if name == "prior.start_token":
            tensor = tensor[0]
        if name.endswith(".w"):
            tensor = tensor.t().contiguous()
        own[_own_name(name)] = tensor.float()
    return own


def to_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reference's state dict of ours, without the codebooks it would hold.

    Raises:
        CheckpointError: A name is not one of our transformer's.
    """
    reference = {}
    for own, tensor in state.items():
        name = _reference_name(own)
        if own == "start":
            tensor = tensor[None]
        reference[name] = tensor.t().contiguous() if name.endswith(".w") else tensor
    return reference


def config_from_reference(hps: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `TransformerConfig` for the hyperparameters of a reference checkpoint.

    Raises:
        CheckpointError: The architecture is one that lqsep does not have, or a value is missing.
    """
    try:
        order = hps["attn_order"]
        if order not in (0, 2):
            raise CheckpointError(
                "transformer checkpoint: expected attn_order 0 (dense) or 2 (factored), "
                f"got {order}"
            )
        return {
            "width": hps["prior_width"],
            "depth": hps["prior_depth"],
            "heads": hps["heads"],
            "max_frames": hps["n_ctx"],
            "attention": "factored" if order == 2 else "dense",
            "blocks": hps["blocks"] or 1,
            "m_attn": hps["m_attn"],
            "m_mlp": hps["m_mlp"],
        }
    except KeyError as error:
        raise CheckpointError(
            f"transformer checkpoint: its hyperparameters lack {error}; is it a prior's?"
        ) from error


def _own_name(reference: str) -> str:
    if reference in _TOP:
        return _TOP[reference]
    match = _LAYER.fullmatch(reference)
    if match is None or match[2] not in _PARTS:
        raise CheckpointError(
            f"transformer checkpoint: '{reference}' is no tensor of an unconditional prior of the "
            "reference"
        )
    return f"blocks.{match[1]}.{_PARTS[match[2]]}.{_KINDS[match[3]]}"


def _reference_name(own: str) -> str:
    if own in _TOP_BACK:
        return _TOP_BACK[own]
    match = _OWN_LAYER.fullmatch(own)
    if match is None or match[2] not in _PARTS_BACK:
        raise CheckpointError(
            f"transformer checkpoint: '{own}' is no tensor of a transformer prior"
        )
    part = _PARTS_BACK[match[2]]
    kind = match[3] if part.startswith("ln_") else match[3][0]
    return f"prior.transformer._attn_mods.{match[1]}.{part}.{kind}"
