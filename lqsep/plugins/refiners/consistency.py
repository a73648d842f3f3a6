"""Stems that sum to the mixture."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.interfaces.refiner import RefineContext, Refiner


class ConsistencyRefiner(Refiner):
    """Shares what the stems leave over of the mixture out among them.

    Args:
        share: ``equal`` parts, or in proportion to the stems' ``energy`` in the segment, so that
            a silent stem stays silent. Without any energy the parts are equal.

    Reference: Wisdom et al. 2019, arXiv:1811.08521, section 3 (mixture consistency).
    """

    def __init__(self, share: Literal["equal", "energy"] = "equal") -> None:
        self._share = share

    def refine(
        self, stems: Float[Tensor, "sources channels samples"], context: RefineContext
    ) -> Float[Tensor, "sources channels samples"]:
        n_sources = stems.shape[0]
        parts = torch.full((n_sources,), 1 / n_sources, dtype=torch.float64, device=stems.device)
        if self._share == "energy":
            energy = stems.double().square().sum((1, 2))
            if energy.sum() > 0:
                parts = energy / energy.sum()
        # Summed in float64: the stems then sum to the mixture up to their own rounding.
        residual = context.mixture.wave.to(stems.device).double() - stems.double().sum(0)
        return (stems.double() + parts[:, None, None] * residual).to(stems.dtype)
