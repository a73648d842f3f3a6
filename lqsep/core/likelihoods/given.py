"""One source's codes with the other's known, by looking pairs up."""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.interfaces.likelihood import BoundLikelihood


def given_by_pairs(
    bound: BoundLikelihood, source: int, codes: Int64[Tensor, "sources frames"]
) -> Float64[Tensor, "frames codebook_size"]:
    """`BoundLikelihood.given` of a likelihood without memory that is known by its pairs.

    Raises:
        IncompatibleComponentsError: There are not two sources.
    """
    if len(codes) != 2 or source not in (0, 1):
        raise IncompatibleComponentsError(
            f"{type(bound).__name__} knows pairs of codes: expected source 0 or 1 and the codes of "
            f"2 sources, got source {source} and {len(codes)} sources"
        )
    result = []
    for frame in range(bound.n_frames):
        likelihood = bound.at(frame, codes[None, :, :0])
        every = torch.arange(likelihood.n_codes[source], device=codes.device)
        pairs = codes[:, frame].expand(len(every), 2).clone()
        pairs[:, source] = every
        result.append(likelihood.at(torch.zeros_like(every), pairs))
    return torch.stack(result)
