"""Whether convolutions in reduced precision can be trusted here.

oneDNN 3.12, which torch 2.13 computes with on the CPU, gives wrong sums for strided convolutions of
few channels in bfloat16 on processors with AMX: errors as large as the values, without a word.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from lqsep.core.errors import ConfigError
from lqsep.plugins.lqvae.config import LQVAEConfig

# bfloat16 keeps 8 bits; sums of products stay well below this share of the largest.
_ROUNDING = 0.05


def check_convolutions(config: LQVAEConfig, device: torch.device, precision: str) -> None:
    """Refuse a precision in which this processor gets the codec's convolutions wrong.

    Args:
        config: Sizes of the codec.
        device: Of the networks.
        precision: As in `lqsep.core.training.settings.LoopSettings`.

    Raises:
        ConfigError: It is bfloat16 on a CPU that gets it wrong.
    """
    if device.type != "cpu" or precision != "bfloat16":
        return
    sizes = {
        (config.width * multiplier, stride)
        for multiplier, stride in zip(config.multipliers, config.strides_t, strict=True)
    }
    if not all(bfloat16_convolves(*size) for size in sizes):
        raise ConfigError(
            f"train.codec.precision = 'bfloat16': torch {torch.__version__} gives wrong "
            "convolutions in bfloat16 on this processor; use precision 'float32', or a GPU"
        )


def bfloat16_convolves(channels: int, stride: int) -> bool:
    """Whether a shortening convolution agrees with the same one in float32, on the CPU."""
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(2, channels, 16 * stride, generator=generator)
    weight = torch.randn(channels, channels, 2 * stride, generator=generator)
    exact = F.conv1d(wave, weight, None, stride, stride // 2)
    coarse = F.conv1d(wave.bfloat16(), weight.bfloat16(), None, stride, stride // 2).float()
    return bool((coarse - exact).abs().max() < _ROUNDING * exact.abs().max())
