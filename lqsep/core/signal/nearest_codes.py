"""The nearest code of every vector."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

# Vectors whose distances are held at once: 8192 of them and 2048 codes take 64 MiB in float32.
_VECTORS = 8192


def nearest_codes(
    vectors: Float[Tensor, "vectors embedding_dim"],
    codebook: Float[Tensor, "codebook_size embedding_dim"],
    *,
    as_reference: bool = False,
) -> tuple[Int64[Tensor, " vectors"], Float[Tensor, " vectors"]]:
    """Code of every vector, the first of those that are equally near, and the squared distance.

    What is compared is ``|e|^2 - 2 x.e``: the square of the vector is the same for all codes, and
    left out it does not round away what tells them apart. Distances are right to within about 1e-6
    of the squares in float32, and never below 0.

    Args:
        vectors: In any number.
        codebook: Vectors of the codes.
        as_reference: Compare ``|x|^2 - 2 x.e + |e|^2``, as Jukebox does: where two codes are nearly
            as near, the rounding of it decides, and models trained with it have codes by it.
    """
    squares = codebook.square().sum(1)
    codes, distances = [], []
    for part in torch.split(vectors, _VECTORS):
        own = part.square().sum(1)
        products = 2 * part @ codebook.T
        compared = own[:, None] - products + squares if as_reference else squares - products
        smallest = compared.min(1)
        codes.append(smallest.indices)
        distances.append(smallest.values if as_reference else smallest.values + own)
    return torch.cat(codes), torch.cat(distances).clamp(min=0)
