"""Builds the likelihood ``log-sum`` from its configuration."""

from __future__ import annotations

from lqsep.core.components.assemble import BuildContext
from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.plugins.spectral.adaptation import EqualiserPrior
from lqsep.plugins.spectral.log_sum import LogSumLikelihood
from lqsep.plugins.spectral.log_sum_config import LogSumConfig


def build_likelihood(config: LogSumConfig, context: BuildContext) -> LogSumLikelihood:
    """The likelihood with the codec's books.

    Raises:
        IncompatibleComponentsError: Not two sources, or a codec without books of spectra.
    """
    check_two_sources(context.sources, "likelihood 'log-sum'")
    # Any codec with these two will do, not only our own.
    books = getattr(context.codec, "books", None)
    features = getattr(context.codec, "features", None)
    if books is None or features is None:
        raise IncompatibleComponentsError(
            "likelihood 'log-sum': expected a codec with books of spectra, but "
            f"{type(context.codec).__name__} has none; use the codec 'spectral-vq', or another "
            "likelihood"
        )
    return LogSumLikelihood(
        books,
        features,
        temper=config.temper,
        residual_variance=config.residual_variance,
        equaliser=EqualiserPrior(
            global_db=config.equaliser_global_db,
            smooth_db=config.equaliser_smooth_db,
            white_db=config.equaliser_white_db,
        ),
    )
