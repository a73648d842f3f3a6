"""What is compared with what, in which stretches: the named protocols. Light to import.

Common to all: the mixture is the sum of ``gain * source`` at the model's gains (a data set's own
mixture files are not read), and every SDR compares ``gain * estimate`` with ``gain * reference``,
both as they stand in the mixture. The level matters: SDR is not scale-invariant. A silent source
leaves a window without a value, a silent estimate does not, and values of windows stay within
`lqsep.core.signal.metrics.LIMIT_DB`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from lqsep.core.errors import ConfigError


@dataclass(frozen=True)
class Protocol:
    """One way to score a separation.

    Args:
        name: As on the command line and in every result.
        summary: One line for ``--help`` and tables.
        unit: What one item is: a chunk of a track or a whole track.
        metrics: Names of what every item has, the most important first.
        references: What estimates are compared with: the ``original`` stems, or the stems after
            the codec's round trip (``decoded``).
        statistic: Which figure over items is quoted, and has the confidence interval.
    """

    name: str
    summary: str
    unit: Literal["chunk", "track"]
    metrics: tuple[str, ...]
    references: tuple[str, ...]
    statistic: Literal["mean", "median"]


LQVAE2021 = Protocol(
    name="lqvae2021",
    summary="SDR of raw candidates on 3 chunks of 3 s per track, as in LQVAE-separation; mean",
    unit="chunk",
    metrics=("sdr",),
    references=("original", "decoded"),
    statistic="mean",
)
"""Chunks of 65,536 samples at 22,050 Hz, channel 0, three of every track, neither source silent.

SDR as museval's over one window of 44,100 samples: the first two seconds of each chunk. Estimates
are the candidates as decoded (``marginal``, ``pair``, ``best-of-N``) and the whole pipeline's
result (``lqsep``).

Source: the evaluation script of LQVAE-separation. Different on purpose: a silent candidate has 0 dB
and does not take the oracle and the chunk with it, ``n`` counts what was scored, figures against
the original stems are those against the original stems, any number of candidates is allowed, and
chunks are drawn per track, whatever other tracks there are and in whatever order they are listed.
"""

MUSEVAL_V4 = Protocol(
    name="museval-v4",
    summary="SDR, ISR, SIR, SAR of museval on whole tracks, 1 s windows; median of medians",
    unit="track",
    metrics=("sdr", "isr", "sir", "sar"),
    references=("original",),
    statistic="median",
)
"""Whole tracks, windows of one second without overlap, filters of the whole track.

A track's figure is the median over its windows, the data set's the median over tracks ("cSDR").

Source: Stöter, Liutkus and Ito 2018, "The 2018 signal separation evaluation campaign",
arXiv:1804.06267. Different on purpose: a window counts though an estimate is silent in it, as if
that were next to silent (an SDR of 0 dB), where museval leaves it out.
"""

SI_SDR = Protocol(
    name="si-sdr",
    summary="SI-SDR and its improvement over the mixture, 4 s windows, 2 s overlap; mean",
    unit="track",
    metrics=("si_sdr", "si_sdri"),
    references=("original",),
    statistic="mean",
)
"""Windows of four seconds every two seconds; those in which any source is silent are left out.

A track's figure is the mean over its windows, the data set's the mean over tracks.

Source: Le Roux et al. 2019, arXiv:1811.02508; windows as in Mariani et al. 2023,
"Multi-source diffusion models", arXiv:2302.02257.
"""

TRACK_SDR = Protocol(
    name="track-sdr",
    summary="SDR, 1 s windows, SI-SDR, 4 s windows, and what is heard of a silent source; mean",
    unit="track",
    metrics=("sdr", "si_sdr"),
    references=("original",),
    statistic="mean",
)
"""SDR of windows of one second without overlap, SI-SDR of windows of four every two; of each
source those in which it sounds, whatever the others do.

A track's SDR is the median over its windows, its SI-SDR their mean, the data set's figures the
mean over tracks. Tracks in which a source is silent for a second or more while others are heard
have a third figure, ``rejection``: how far the estimate of that source is below the mixture there,
in dB (100 at most), median over such windows of one second. It is large where nothing leaks.

Source: the project's own; the windows are those of the two protocols above, without museval's
filters, which are slow, and without its rule that one silent source takes the window from all.
"""

PROTOCOLS = {p.name: p for p in (LQVAE2021, MUSEVAL_V4, SI_SDR, TRACK_SDR)}
"""By name."""


def find_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in PROTOCOLS:
        close = difflib.get_close_matches(name, PROTOCOLS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ConfigError(
            f"evaluation: no protocol named {name!r}{hint} Available: {', '.join(PROTOCOLS)}."
        )
    return PROTOCOLS[name]
