"""Silence that lasts.

Music for training plays throughout, so its silences are the gaps between notes. Where a source
pauses for seconds, a prior of such counts soon expects it back, and hears it in what others play.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

# Distinct n-grams of one length, and how often each occurs.
Table = tuple[Int64[Tensor, "_entries _n"], Int64[Tensor, " _entries"]]


def with_lasting_silence(
    tables: Sequence[Table], codebook_size: int, *, smoothing: float, frames: float
) -> list[Table]:
    """Counts by which a run of code 0 has a mean length of ``frames`` at least.

    Only the counts of code 0 after itself rise; what comes after other codes stays as it is.

    Args:
        tables: Distinct n-grams and their counts, for every n from 1 on.
        codebook_size: Number of codes.
        smoothing: Pseudo-counts of the prior that they are for.
        frames: Above 1. The length of a run is geometric, so that code 0 follows itself with
            probability ``1 - 1 / frames``.
    """
    stays = 1 - 1 / frames
    ngrams, counts = tables[0]
    silent = int(counts[ngrams[:, 0] == 0].sum())
    shorter = (silent + smoothing / codebook_size) / (int(counts.sum()) + smoothing)
    result = [(ngrams, counts)]
    for ngrams, counts in tables[1:]:
        after = (ngrams[:, :-1] == 0).all(1)
        same = after & (ngrams[:, -1] == 0)
        kept = int(counts[same].sum()) + smoothing * shorter
        total = int(counts[after].sum()) + smoothing
        more = max(0, math.ceil((stays * total - kept) * frames))
        if more and not same.any():
            ngrams = torch.cat([torch.zeros_like(ngrams[:1]), ngrams])
            counts = torch.cat([torch.zeros_like(counts[:1]), counts])
            same = torch.cat([same.new_ones(1), same])
        result.append((ngrams, counts + more * same))
        shorter = (kept + more) / (total + more)
    return result
