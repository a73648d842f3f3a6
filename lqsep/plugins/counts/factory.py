"""Builds the likelihood ``counts`` from its configuration."""

from __future__ import annotations

from lqsep.core.components.assemble import BuildContext
from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.store.weights import check_codec_fingerprint
from lqsep.plugins.counts.config import CountsConfig
from lqsep.plugins.counts.lass import load_lass_counts
from lqsep.plugins.counts.likelihood import CountsLikelihood
from lqsep.plugins.counts.store import LASS_SUFFIX, load_counts


def build_likelihood(config: CountsConfig, context: BuildContext) -> CountsLikelihood:
    """The likelihood with its stored counts.

    Raises:
        CheckpointError: The counts are missing, damaged, or of another codec.
        IncompatibleComponentsError: Not two sources, or no codebook that they share.
    """
    check_two_sources(context.sources, "likelihood 'counts'")
    assert context.codec is not None, "the codec is built first"
    path, sha256 = context.file(config.counts)
    if path.suffix == LASS_SUFFIX:
        counted = load_lass_counts(path, axes=config.axes, sha256=sha256)
    else:
        counted = load_counts(path, sha256=sha256)
    if counted.codec_fingerprint is not None:
        metadata = {"codec_fingerprint": counted.codec_fingerprint}
        check_codec_fingerprint(path, metadata, context.codec.fingerprint)
    return CountsLikelihood(
        counted,
        codebook_size=shared_codebook_size(context.codec),
        smoothing=config.smoothing,
        weight=config.weight,
        device=context.device,
    )


def shared_codebook_size(codec: Codec) -> int:
    """Codes of a codec with one codebook for two sources and their mixture.

    Raises:
        IncompatibleComponentsError: The sources have codebooks of different sizes.
    """
    sizes = codec.codebook_size(0), codec.codebook_size(1)
    if sizes[0] != sizes[1]:
        raise IncompatibleComponentsError(
            f"likelihood 'counts': expected a codec with one codebook for both sources and the "
            f"mixture, got {sizes[0]} and {sizes[1]} codes; use another codec or likelihood"
        )
    return sizes[0]
