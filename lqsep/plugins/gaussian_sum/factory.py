"""Builds the likelihood ``gaussian-sum`` from its configuration."""

from __future__ import annotations

import torch

from lqsep.core.components.assemble import BuildContext
from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import CheckpointError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.store.weights import check_codec_fingerprint
from lqsep.plugins.gaussian_sum.calibration import load_calibration
from lqsep.plugins.gaussian_sum.config import GaussianSumConfig
from lqsep.plugins.gaussian_sum.likelihood import GaussianSumLikelihood


def build_likelihood(config: GaussianSumConfig, context: BuildContext) -> GaussianSumLikelihood:
    """The likelihood with its measured noise.

    Raises:
        CheckpointError: The calibration is missing, damaged, or of another codec.
        IncompatibleComponentsError: Not two sources.
    """
    check_two_sources(context.sources, "likelihood 'gaussian-sum'")
    assert context.codec is not None, "the codec is built first"
    path, sha256 = context.file(config.calibration)
    if not path.is_file():
        raise CheckpointError(
            f"likelihood 'gaussian-sum': no calibration at {path}; measure it with "
            f"`lqsep sums {context.base_dir} --calibrate --data DIR`, DIR holding recordings of "
            f"{' and '.join(context.sources)}, or check likelihood.calibration, a file in "
            "the model's directory"
        )
    calibration = load_calibration(path, sha256=sha256)
    metadata = {"codec_fingerprint": calibration.codec_fingerprint}
    check_codec_fingerprint(path, metadata, context.codec.fingerprint)
    return GaussianSumLikelihood(
        codebook_of(context.codec, 0, context.device),
        codebook_of(context.codec, 1, context.device),
        calibration,
        temperature=config.temperature,
    )


def codebook_of(codec: Codec, source: int, device: torch.device) -> torch.Tensor:
    """The vectors ``K D`` of a source's codes."""
    codes = torch.arange(codec.codebook_size(source), device=device)
    return codec.embed(codes[None], source)[0].detach()
