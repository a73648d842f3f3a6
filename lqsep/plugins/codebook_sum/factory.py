"""Builds the likelihoods ``codebook-sum`` and ``delta`` from their configurations."""

from __future__ import annotations

import logging

import torch

from lqsep.core.components.assemble import BuildContext
from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.store.weights import check_codec_fingerprint
from lqsep.plugins.codebook_sum.config import SUMS_FILE, CodebookSumConfig, DeltaConfig
from lqsep.plugins.codebook_sum.delta import DeltaLikelihood
from lqsep.plugins.codebook_sum.likelihood import CodebookSumLikelihood
from lqsep.plugins.codebook_sum.table import SumTable, load_table

_LOGGER = logging.getLogger("lqsep")


def build_likelihood(config: CodebookSumConfig, context: BuildContext) -> CodebookSumLikelihood:
    """The likelihood, with its stored table of sums if it has one.

    Raises:
        CheckpointError: The table is missing, damaged, or of another codec.
        IncompatibleComponentsError: Not two sources, or no codebook that they share.
    """
    codebook, table = _codebook_and_table(config, context)
    return CodebookSumLikelihood(codebook, sigma=config.sigma, target=config.target, table=table)


def build_delta(config: DeltaConfig, context: BuildContext) -> DeltaLikelihood:
    """The likelihood, with its stored table of sums if it has one.

    Raises:
        CheckpointError: The table is missing, damaged, or of another codec.
        IncompatibleComponentsError: Not two sources, or no codebook that they share.
    """
    codebook, table = _codebook_and_table(config, context)
    return DeltaLikelihood(codebook, mass=config.mass, table=table)


def _codebook_and_table(
    config: CodebookSumConfig | DeltaConfig, context: BuildContext
) -> tuple[torch.Tensor, SumTable | None]:
    check_two_sources(context.sources, f"likelihood '{config.type}'")
    assert context.codec is not None, "the codec is built first"
    codebook = shared_codebook(context.codec, context.device, config.type)
    return codebook, _stored_table(config.table, context, context.codec.fingerprint)


def _stored_table(name: str | None, context: BuildContext, codec: str) -> SumTable | None:
    """The table that is named, or else the one beside the model where it is of this codec."""
    path, sha256 = context.file(name or SUMS_FILE)
    if not path.is_file():
        if name is None:
            return None
        raise CheckpointError(
            f"no table of code sums at {path}; make it with `lqsep sums {context.base_dir}`, or "
            "check likelihood.table, a file in the model's directory"
        )
    table = load_table(path, sha256=sha256)
    if name is None and table.codec_fingerprint != codec:
        _LOGGER.warning(
            "%s is of another codec: the sums are computed instead (`lqsep sums` stores them)", path
        )
        return None
    check_codec_fingerprint(path, {"codec_fingerprint": table.codec_fingerprint}, codec)
    return table


def shared_codebook(codec: Codec, device: torch.device, name: str = "codebook-sum") -> torch.Tensor:
    """The vectors ``K D`` of a codec with one codebook for two sources.

    Args:
        codec: On ``device``.
        device: Where the vectors are wanted.
        name: Of the likelihood, for messages.

    Raises:
        IncompatibleComponentsError: The sources have codebooks of different sizes.
    """
    sizes = codec.codebook_size(0), codec.codebook_size(1)
    if sizes[0] != sizes[1]:
        raise IncompatibleComponentsError(
            f"building likelihood '{name}': expected a codec with one codebook for both "
            f"sources, got {sizes[0]} and {sizes[1]} codes; use another codec or likelihood"
        )
    codes = torch.arange(sizes[0], device=device)
    return codec.embed(codes[None])[0].detach()
