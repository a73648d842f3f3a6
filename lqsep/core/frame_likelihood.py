"""The likelihood of one frame's joint codes: the interface and its four forms.

===================== ====================================================================
`SumTableLikelihood`  the value depends on the code of the pair's sum only (large codebooks)
`BilinearLikelihood`  a term per code plus a product of vectors (Gaussians, large codebooks)
`SparseLikelihood`    a list of pairs, one floor for all the others
`DenseLikelihood`     every pair stored, evaluated in the log domain (small codebooks, tests)
===================== ====================================================================
"""

from __future__ import annotations

from lqsep.core.bilinear_likelihood import BilinearLikelihood, GramMatrix
from lqsep.core.dense_likelihood import DenseLikelihood
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.sparse_likelihood import SparseLikelihood
from lqsep.core.sum_table import SumTableIndex, SumTableLikelihood

__all__ = [
    "BilinearLikelihood",
    "DenseLikelihood",
    "FrameLikelihood",
    "GramMatrix",
    "SparseLikelihood",
    "SumTableIndex",
    "SumTableLikelihood",
]
