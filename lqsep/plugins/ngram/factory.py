"""Builds the n-gram prior from its configuration, and reads and writes its counts.

A weights file holds, for every length n up to its order, ``ngrams.n`` (entries, n) and ``counts.n``
(entries), and in its metadata ``order`` and ``codebook_size``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from lqsep.core.components.assemble import BuildContext
from lqsep.core.components.component_config import prior_file
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError
from lqsep.core.store.weights import (
    Weights,
    check_codec_fingerprint,
    load_weights,
    save_weights,
)
from lqsep.plugins.ngram.config import NgramConfig
from lqsep.plugins.ngram.counts import NgramCounts, count_ngrams
from lqsep.plugins.ngram.prior import NgramPrior
from lqsep.plugins.ngram.silence import Table, with_lasting_silence


def build_prior(config: NgramConfig, context: BuildContext) -> NgramPrior:
    """A prior with its counts, on the context's device.

    A file of a higher order serves a lower one.

    Raises:
        CheckpointError: The counts are missing, damaged, of too low an order, of another number of
            codes or of another codec.
        IncompatibleComponentsError: There is no codec whose codes it could predict.
    """
    source = context.source_index
    if context.codec is None or context.source is None or source is None:
        raise IncompatibleComponentsError(
            "building an n-gram prior: it needs the codec and its source's name; build the codec "
            "first"
        )
    path, sha256 = context.file(config.checkpoint or prior_file(context.source))
    weights = load_weights(path, sha256=sha256)
    check_codec_fingerprint(path, weights.metadata, context.codec.fingerprint)
    codebook_size = context.codec.codebook_size(source)
    tables = _read_tables(weights, path, config.order, codebook_size)
    if config.silence_frames is not None:
        tables = with_lasting_silence(
            tables, codebook_size, smoothing=config.smoothing, frames=config.silence_frames
        )
    counts = [NgramCounts(*table, codebook_size, context.device) for table in tables]
    return NgramPrior(counts, config.smoothing, context.device)


def count_prior(
    sequences: Sequence[Int64[Tensor, " _frames"]],
    codebook_size: int,
    *,
    order: int = 2,
    smoothing: float = 8.0,
) -> NgramPrior:
    """A prior counted from code sequences."""
    counts = [
        NgramCounts(*count_ngrams(sequences, n, codebook_size), codebook_size)
        for n in range(1, order + 1)
    ]
    return NgramPrior(counts, smoothing)


def save_counts(
    path: str | Path,
    sequences: Sequence[Int64[Tensor, " _frames"]],
    codebook_size: int,
    order: int,
    metadata: Mapping[str, str],
) -> None:
    """Count the sequences' n-grams up to ``order`` and write a weights file.

    Raises:
        CheckpointError: The file cannot be written.
    """
    tensors = {}
    for n in range(1, order + 1):
        ngrams, counts = count_ngrams(sequences, n, codebook_size)
        tensors[f"ngrams.{n}"] = ngrams.to(torch.int32)
        tensors[f"counts.{n}"] = counts.to(torch.int32)
    sizes = {"order": str(order), "codebook_size": str(codebook_size)}
    save_weights(path, tensors, {**metadata, **sizes})


def _read_tables(weights: Weights, path: Path, order: int, codebook_size: int) -> list[Table]:
    """N-grams and their counts, for every length up to ``order``."""
    found = weights.metadata.get("codebook_size")
    if found != str(codebook_size):
        raise CheckpointError(
            f"{path} does not fit the codec: expected counts of {codebook_size} codes, got "
            f"{found or 'a file that is no n-gram prior'}; train the prior on this codec"
        )
    result = []
    for n in range(1, order + 1):
        ngrams, counts = weights.tensors.get(f"ngrams.{n}"), weights.tensors.get(f"counts.{n}")
        if ngrams is None or counts is None:
            raise CheckpointError(
                f"{path} holds no counts of {n} codes, which order = {order} needs; set order = "
                f"{n - 1} or train again"
            )
        fits = ngrams.shape == (len(counts), n) and counts.ndim == 1
        fits = fits and not ngrams.is_floating_point() and not counts.is_floating_point()
        if not fits or (
            len(ngrams) and not 0 <= int(ngrams.min()) <= int(ngrams.max()) < codebook_size
        ):
            raise CheckpointError(
                f"{path} is damaged: 'ngrams.{n}' of shape {tuple(ngrams.shape)} does not hold "
                f"{len(counts)} n-grams of {n} codes below {codebook_size}; train again"
            )
        if len(counts) and int(counts.min()) < 0:
            raise CheckpointError(
                f"{path} is damaged: 'counts.{n}' has values below 0; train again"
            )
        result.append((ngrams.long(), counts.long()))
    return result
