"""Names of the LQ-VAE's tensors in checkpoints of the reference implementation.

Both directions are pure functions over state dicts. The reference saves codebooks without their
running sums and counts; :func:`from_reference` fills these in as after the start of a codebook
(every count 1), and :func:`to_reference` leaves them out.

Reference: Mancusi et al. 2021, arXiv:2110.05313, whose codec is Jukebox's (arXiv:2005.00341).
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lqsep.core.errors import CheckpointError

_UNIT_PARTS = {"1": "dilated", "3": "pointwise"}
_UNIT_INDICES = {part: index for index, part in _UNIT_PARTS.items()}
_RUNNING = ("code_sum", "code_count", "initialised")

_BLOCK = r"(encoders|decoders)\.(\d+)\.level_blocks\.(\d+)\.model\."
_REFERENCE_UNIT = re.compile(_BLOCK + r"(\d+)\.([01])\.model\.(\d+)\.model\.([13])\.(weight|bias)")
_REFERENCE_RESAMPLE = re.compile(_BLOCK + r"(\d+)\.([01])\.(weight|bias)")
_REFERENCE_PROJECT = re.compile(_BLOCK + r"(\d+)\.(weight|bias)")
_REFERENCE_OUT = re.compile(r"decoders\.(\d+)\.out\.(weight|bias)")
_REFERENCE_CODEBOOK = re.compile(r"bottleneck\.level_blocks\.(\d+)\.k")

_OWN_BLOCK = r"(encoders|decoders)\.(\d+)\.blocks\.(\d+)\."
_OWN_UNIT = re.compile(
    _OWN_BLOCK + r"stages\.(\d+)\.residual\.(\d+)\.(dilated|pointwise)\.(weight|bias)"
)
_OWN_RESAMPLE = re.compile(_OWN_BLOCK + r"stages\.(\d+)\.(down|up)\.(weight|bias)")
_OWN_PROJECT = re.compile(_OWN_BLOCK + r"project\.(weight|bias)")
_OWN_OUT = re.compile(r"decoders\.(\d+)\.to_wave\.(weight|bias)")
_OWN_CODEBOOK = re.compile(r"quantizers\.(\d+)\.codebook")


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict of a reference state dict.

    Raises:
        CheckpointError: A name is not one of the reference's LQ-VAE.
    """
    own = {own_name(name): tensor for name, tensor in state.items()}
    for name, codebook in list(own.items()):
        if name.endswith(".codebook"):
            prefix = name.removesuffix("codebook")
            own[prefix + "code_sum"] = codebook.clone()
            own[prefix + "code_count"] = codebook.new_ones(len(codebook))
            own[prefix + "initialised"] = torch.tensor(True)
    return own


def to_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reference's state dict of ours; running sums and counts have no place in it.

    Raises:
        CheckpointError: A name is not one of our LQ-VAE, or an encoder lacks its stages.
    """
    last_stages = _last_stages(state)
    return {
        _reference_name(name, last_stages): tensor
        for name, tensor in state.items()
        if name.rpartition(".")[2] not in _RUNNING
    }


def own_name(reference_name: str) -> str:
    """Our name of one tensor of the reference."""
    if match := _REFERENCE_UNIT.fullmatch(reference_name):
        side, level, block, stage, _, unit, part, kind = match.groups()
        prefix = f"{_own_stage(side, level, block, stage)}.residual.{unit}"
        return f"{prefix}.{_UNIT_PARTS[part]}.{kind}"
    if match := _REFERENCE_RESAMPLE.fullmatch(reference_name):
        side, level, block, stage, _, kind = match.groups()
        resample = "down" if side == "encoders" else "up"
        return f"{_own_stage(side, level, block, stage)}.{resample}.{kind}"
    if match := _REFERENCE_PROJECT.fullmatch(reference_name):
        side, level, block, _, kind = match.groups()
        return f"{side}.{level}.blocks.{block}.project.{kind}"
    if match := _REFERENCE_OUT.fullmatch(reference_name):
        return "decoders.{}.to_wave.{}".format(*match.groups())
    if match := _REFERENCE_CODEBOOK.fullmatch(reference_name):
        return f"quantizers.{match[1]}.codebook"
    raise CheckpointError(
        f"lq-vae checkpoint: '{reference_name}' is no tensor of the reference's LQ-VAE "
        "(encoders, decoders, bottleneck)."
    )


def _own_stage(side: str, level: str, block: str, stage: str) -> str:
    # A decoder block of the reference counts its projection as element 0.
    index = int(stage) - (side == "decoders")
    return f"{side}.{level}.blocks.{block}.stages.{index}"


def _last_stages(state: Mapping[str, Tensor]) -> Callable[[str, str], int]:
    """Number of stages of an encoder's block, which is the reference's index of its projection."""
    counts: dict[tuple[str, str], int] = {}
    for name in state:
        match = _OWN_RESAMPLE.fullmatch(name)
        if match and match[1] == "encoders":
            key = (match[2], match[3])
            counts[key] = max(counts.get(key, 0), int(match[4]) + 1)

    def count(level: str, block: str) -> int:
        if (level, block) not in counts:
            raise CheckpointError(
                f"lq-vae checkpoint: block {block} of encoder {level} has no stages."
            )
        return counts[level, block]

    return count


def _reference_name(name: str, last_stages: Callable[[str, str], int]) -> str:
    if match := _OWN_UNIT.fullmatch(name):
        side, level, block, stage, unit, part, kind = match.groups()
        # An encoder stage is [resampling, units], a decoder stage [units, resampling].
        inside = "1" if side == "encoders" else "0"
        prefix = f"{_reference_stage(side, level, block, stage)}.{inside}.model.{unit}.model"
        return f"{prefix}.{_UNIT_INDICES[part]}.{kind}"
    if match := _OWN_RESAMPLE.fullmatch(name):
        side, level, block, stage, _, kind = match.groups()
        inside = "0" if side == "encoders" else "1"
        return f"{_reference_stage(side, level, block, stage)}.{inside}.{kind}"
    if match := _OWN_PROJECT.fullmatch(name):
        side, level, block, kind = match.groups()
        index = 0 if side == "decoders" else last_stages(level, block)
        return f"{side}.{level}.level_blocks.{block}.model.{index}.{kind}"
    if match := _OWN_OUT.fullmatch(name):
        return "decoders.{}.out.{}".format(*match.groups())
    if match := _OWN_CODEBOOK.fullmatch(name):
        return f"bottleneck.level_blocks.{match[1]}.k"
    raise CheckpointError(f"lq-vae checkpoint: '{name}' is no tensor of an LQ-VAE.")


def _reference_stage(side: str, level: str, block: str, stage: str) -> str:
    index = int(stage) + (side == "decoders")
    return f"{side}.{level}.level_blocks.{block}.model.{index}"
