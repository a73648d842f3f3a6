"""The LQ-VAE in checkpoints of the reference implementation: settings and tensors, both ways.

Every size comes from the checkpoint's settings (its ``hps``) and must agree with its tensors; what
the settings leave out is read off the tensors where these show it.

Reference: Mancusi et al. 2021, arXiv:2110.05313, whose codec is Jukebox's (arXiv:2005.00341).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import Any

from torch import Tensor

from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.components.config import parse_settings
from lqsep.core.errors import CheckpointError, ConfigError
from lqsep.core.store.pickled_checkpoint import PickledCheckpoint
from lqsep.core.store.weights import name_mismatch, shape_mismatch
from lqsep.plugins.jukebox.codec_layout import CodecSizes, codec_tensors
from lqsep.plugins.jukebox.codec_names import from_reference, to_reference

# The reference's settings that lqsep has no other values for. It takes these where it says nothing.
_FIXED = {
    "m_conv": 1.0,
    "dilation_cycle": None,
    "vqvae_reverse_decoder_dilation": True,
    "use_bottleneck": True,
}

_DOWN = re.compile(r"encoders\.(\d+)\.blocks\.(\d+)\.stages\.(\d+)\.down\.weight")
_UNIT = re.compile(r"encoders\.(\d+)\.blocks\.0\.stages\.0\.residual\.(\d+)\.dilated\.weight")


def read_codec(
    checkpoint: PickledCheckpoint,
    settings: type[ComponentConfig],
    sample_rate: int | None = None,
) -> tuple[ComponentConfig, dict[str, Tensor]]:
    """Configuration and stored tensors of a codec's checkpoint.

    Args:
        checkpoint: As it was read.
        settings: The configuration model of ``lq-vae``.
        sample_rate: In Hz, for settings that do not say it.

    Raises:
        CheckpointError: It is no codec's, has tensors that are missing, unknown or of sizes other
            than its settings say, another sample rate, or an architecture that lqsep does not have.
    """
    path = checkpoint.path
    if any(name.startswith("prior.") for name in checkpoint.tensors):
        raise CheckpointError(
            f"{path} is a prior's checkpoint, expected a codec's (encoders, decoders, bottleneck); "
            "give it with --prior SOURCE=FILE"
        )
    try:
        _check_fixed(checkpoint.hps)
        state = from_reference(checkpoint.tensors)
        config = _config(_with_rate(checkpoint.hps, sample_rate), _sizes(state), settings)
        expected = codec_tensors(CodecSizes.of(config))
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    _check_tensors(checkpoint, expected)
    return config, {name: state[name] for name in expected}


def reference_codec(
    config: ComponentConfig, tensors: Mapping[str, Tensor], hps: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and tensors of the reference for a codec, in the reference's order.

    Args:
        config: A configuration of ``lq-vae``.
        tensors: Those of its file, of the sizes that it says.
        hps: Further settings, such as those of the checkpoint that the codec was imported from.
    """
    given, shape = config.model_dump(), CodecSizes.of(config)
    sizes = {
        "sr": given["sample_rate"],
        "levels": shape.levels,
        "downs_t": shape.downs_t,
        "strides_t": shape.strides_t,
        "hvqvae_multipliers": shape.multipliers,
        "emb_width": shape.embedding_dim,
        "l_bins": shape.codebook_size,
        "width": shape.width,
        "depth": shape.depth,
        "dilation_growth_rate": given["dilation_growth"],
    }
    state = {name: tensors[name].float() for name in codec_tensors(shape)}
    return {**hps, **_FIXED, **sizes}, to_reference(state)


def _check_fixed(hps: Mapping[str, Any]) -> None:
    for key, only in _FIXED.items():
        if hps.get(key, only) != only:
            raise CheckpointError(
                f"its settings have {key} = {hps[key]!r}; lqsep knows codecs with {only!r} only"
            )


def _with_rate(hps: Mapping[str, Any], sample_rate: int | None) -> Mapping[str, Any]:
    """The settings with the sample rate, which tensors do not show."""
    said = hps.get("sr")
    if said is None and sample_rate is None:
        raise CheckpointError("its settings lack 'sr', the sample rate; give it with --sample-rate")
    if None not in (said, sample_rate) and said != sample_rate:
        raise CheckpointError(
            f"its settings have sr = {said!r}, but --sample-rate is {sample_rate}; leave it out"
        )
    return {**hps, "sr": sample_rate if said is None else said}


@dataclass(frozen=True)
class _Shown:
    """What the tensors show, per level from the finest where there are several values."""

    levels: int
    downs_t: tuple[int, ...]
    strides_t: tuple[int, ...]
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    l_bins: int
    emb_width: int


def _sizes(state: Mapping[str, Tensor]) -> _Shown:
    """Sizes of the encoders and the codebook.

    Raises:
        CheckpointError: A part is missing altogether.
    """
    # Counts, not highest numbers: a name may claim any.
    stages: Counter[tuple[int, int]] = Counter()
    depths: Counter[int] = Counter()
    strides: dict[int, int] = {}
    widths: dict[int, int] = {}
    for name, tensor in state.items():
        if (match := _DOWN.fullmatch(name)) and tensor.ndim == 3:
            level, block = int(match[1]), int(match[2])
            stages[level, block] += 1
            widths[level] = tensor.shape[0]
            strides[block] = tensor.shape[2] // 2
        if match := _UNIT.fullmatch(name):
            depths[int(match[1])] += 1
    levels = len(widths)
    codebook = state.get("quantizers.0.codebook")
    every = list(range(levels))
    blocks = {(level, block) for level in every for block in range(level + 1)}
    whole = set(stages) == blocks and sorted(depths) == every
    if not levels or not whole or codebook is None or codebook.ndim != 2:
        raise CheckpointError(
            "expected the encoders and codebooks of an LQ-VAE, found only a part of them"
        )
    return _Shown(
        levels=levels,
        downs_t=tuple(stages[levels - 1, block] for block in every),
        strides_t=tuple(strides[block] for block in every),
        widths=tuple(widths[level] for level in every),
        depths=tuple(depths[level] for level in every),
        l_bins=codebook.shape[0],
        emb_width=codebook.shape[1],
    )


def _config(
    hps: Mapping[str, Any], sizes: _Shown, settings: type[ComponentConfig]
) -> ComponentConfig:
    """Configuration from the settings, completed from and compared with the tensors' sizes."""
    given = _completed(hps, sizes)
    config = parse_settings(
        settings,
        {
            "sample_rate": given["sr"],
            "downs_t": _first(given["downs_t"], given["levels"]),
            "strides_t": _first(given["strides_t"], given["levels"]),
            "multipliers": given["hvqvae_multipliers"],
            "width": given["width"],
            "depth": given["depth"],
            "dilation_growth": given["dilation_growth_rate"],
            "embedding_dim": given["emb_width"],
            "codebook_size": given["l_bins"],
        },
        "its settings",
    )
    said = CodecSizes.of(config)
    for key, value, shown in (
        ("levels", said.levels, sizes.levels),
        ("downs_t", said.downs_t, sizes.downs_t),
        ("strides_t", said.strides_t, sizes.strides_t),
        ("l_bins", said.codebook_size, sizes.l_bins),
        ("emb_width", said.embedding_dim, sizes.emb_width),
        ("width x multipliers", tuple(said.width * m for m in said.multipliers), sizes.widths),
        ("depth x multipliers", tuple(said.depth * m for m in said.multipliers), sizes.depths),
    ):
        if value != shown:
            raise CheckpointError(f"its settings have {key} = {value}, its tensors {shown}")
    if any(stride < 2 or stride % 2 for stride in said.strides_t):
        raise CheckpointError(
            f"its settings have strides_t = {said.strides_t}; lqsep knows codecs with even ones "
            "only"
        )
    return config


def _completed(hps: Mapping[str, Any], sizes: _Shown) -> dict[str, Any]:
    """The settings with what they leave out, as the tensors show it.

    Raises:
        CheckpointError: They leave out something that the tensors do not show.
    """
    given = dict(hps)
    if given.get("dilation_growth_rate") is None:
        raise CheckpointError(
            "its settings lack 'dilation_growth_rate', which the tensors do not show"
        )
    for key in ("levels", "downs_t", "strides_t", "l_bins", "emb_width"):
        given.setdefault(key, getattr(sizes, key))
    if "hvqvae_multipliers" not in given:
        # In lowest terms where neither width nor depth says the unit.
        unit = given.get("width", gcd(*sizes.widths)), given.get("depth")
        shown = (sizes.widths, unit[0]) if unit[1] is None else (sizes.depths, unit[1])
        given["hvqvae_multipliers"] = tuple(_quotient(size, shown[1]) for size in shown[0])
    if given["hvqvae_multipliers"] is None:
        given["hvqvae_multipliers"] = (1,) * sizes.levels
    for key, shown_sizes in (("width", sizes.widths), ("depth", sizes.depths)):
        given.setdefault(key, _quotient(shown_sizes[0], _first_of(given["hvqvae_multipliers"])))
    return given


def _quotient(size: int, unit: Any) -> int:
    """Never fails: a unit that is no divisor shows when sizes are compared."""
    return size // unit if isinstance(unit, int) and unit > 0 else size


def _first_of(values: Any) -> Any:
    return values[0] if isinstance(values, tuple | list) and values else None


def _first(values: Any, count: Any) -> Any:
    """The reference uses the first ``levels`` entries."""
    is_list = isinstance(values, tuple | list) and isinstance(count, int)
    return tuple(values[:count]) if is_list else values


def _check_tensors(checkpoint: PickledCheckpoint, expected: Mapping[str, Tensor]) -> None:
    """Names and shapes, under the reference's names: those that the user's file has."""
    reference = to_reference(expected)
    mismatch = name_mismatch(reference, checkpoint.tensors)
    if mismatch is not None:
        raise CheckpointError(f"{checkpoint.path} is not a whole codec: {mismatch}")
    mismatch = shape_mismatch(reference, checkpoint.tensors)
    if mismatch is not None:
        raise CheckpointError(f"{checkpoint.path}: {mismatch} by its settings")
