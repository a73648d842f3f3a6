"""What the codes of one source stand for."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class SpectralBook:
    """Statistics of the frames that were given each code; code 0 is silence.

    Args:
        mean: Of the bands' log powers, natural log.
        variance: Of the same, shrunk towards that of all codes together.
        log_power: Mean log power at the full resolution of the spectrum.
        count: Frames seen; 0 for a code that none fell to.
    """

    mean: Float[Tensor, "codes bands"]
    variance: Float[Tensor, "codes bands"]
    log_power: Float[Tensor, "codes bins"]
    count: Int64[Tensor, " codes"]

    @property
    def size(self) -> int:
        """Number of codes."""
        return int(self.mean.shape[0])

    def tensors(self) -> dict[str, Tensor]:
        """By field."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, device: torch.device | str) -> SpectralBook:
        """The same on another device."""
        return SpectralBook(**{name: t.to(device) for name, t in self.tensors().items()})
