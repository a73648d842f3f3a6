"""Builds the likelihood ``waveform`` from its configuration."""

from __future__ import annotations

from lqsep.core.components.assemble import BuildContext
from lqsep.core.components.config import check_two_sources
from lqsep.plugins.waveform.config import WaveformConfig
from lqsep.plugins.waveform.likelihood import WaveformLikelihood


def build_likelihood(config: WaveformConfig, context: BuildContext) -> WaveformLikelihood:
    """The likelihood on the pipeline's codec.

    Raises:
        IncompatibleComponentsError: There are not two sources.
    """
    check_two_sources(context.sources, "likelihood 'waveform'")
    assert context.codec is not None, "the codec is built first"
    return WaveformLikelihood(
        context.codec,
        sigma=config.sigma,
        window=config.window,
        context=config.context,
        batch_size=config.batch_size,
    )
