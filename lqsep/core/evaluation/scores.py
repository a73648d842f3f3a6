"""Figures of one estimate on a whole track, one per source, under each track protocol."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lqsep.core.evaluation.museval import museval_metrics
from lqsep.core.signal.metrics import silent_windows, windowed_sdr, windowed_si_sdr

Stems = Float[Tensor, "sources channels samples"]
Wave = Float[Tensor, "channels samples"]

# Length of a window and from one window's start to the next, in seconds.
_MUSEVAL_S = _SDR_S = 1.0
_SI_SDR_WINDOW_S, _SI_SDR_HOP_S = 4.0, 2.0

# So much counts as silence: a perfect estimate would have no finite figure.
_LARGEST_REJECTION_DB = 100.0


def museval_scores(references: Stems, estimates: Stems, sample_rate: int) -> dict[str, list[float]]:
    """By metric and source, the median over windows; NaN where no window has a value.

    Raises:
        ConfigError: museval is not installed.
    """
    window = round(_MUSEVAL_S * sample_rate)
    values = museval_metrics(references.numpy(), estimates.numpy(), window=window, hop=window)
    return {
        name: [_median(row[np.isfinite(row)].tolist()) for row in rows]
        for name, rows in values.items()
    }


def si_sdr_scores(
    references: Stems, estimates: Stems, mixture: Float[Tensor, "channels samples"], rate: int
) -> dict[str, list[float]]:
    """``si_sdr`` and its improvement over the mixture, by source: means over windows.

    Windows in which any source is silent are left out, and those without a value (a silent
    estimate has none); NaN where no window is left.
    """
    size = {"window_s": _SI_SDR_WINDOW_S, "hop_s": _SI_SDR_HOP_S}
    silent = silent_windows(references[0], rate, **size)
    for reference in references[1:]:
        silent = silent | silent_windows(reference, rate, **size)
    found: dict[str, list[float]] = {"si_sdr": [], "si_sdri": []}
    for reference, estimate in zip(references, estimates, strict=True):
        values, before = (
            windowed_si_sdr(reference, wave, rate, leave_out=silent, **size).values
            for wave in (estimate, mixture)
        )
        found["si_sdr"].append(_mean(values))
        found["si_sdri"].append(_mean(v - b for v, b in zip(values, before, strict=True)))
    return found


def track_scores(
    references: Stems, estimates: Stems, mixture: Wave, rate: int
) -> dict[str, list[float]]:
    """``sdr`` (median over windows) and ``si_sdr`` (mean), by source, where the source sounds.

    And ``rejection``, if there are windows in which a source is silent and the mixture is not:
    energy of the mixture over that of the estimate, in dB, 100 at most, median over these windows.
    NaN where a source has no such window, or none with a value.
    """
    found: dict[str, list[float]] = {"sdr": [], "si_sdr": []}
    rejections = []
    for reference, estimate in zip(references, estimates, strict=True):
        found["sdr"].append(windowed_sdr(reference, estimate, rate, window_s=_SDR_S).median)
        windows = windowed_si_sdr(
            reference, estimate, rate, window_s=_SI_SDR_WINDOW_S, hop_s=_SI_SDR_HOP_S
        )
        found["si_sdr"].append(_mean(windows.values))
        rejections.append(_rejection(reference, estimate, mixture, rate))
    return found if all(map(math.isnan, rejections)) else found | {"rejection": rejections}


def _rejection(reference: Wave, estimate: Wave, mixture: Wave, rate: int) -> float:
    silent, unheard = (silent_windows(w, rate, window_s=_SDR_S) for w in (reference, mixture))
    # Taken as the error of the rest: SDR is then the energy of the mixture over the estimate's.
    whole = mixture.double()
    rejected = windowed_sdr(
        whole, whole - estimate.double(), rate, window_s=_SDR_S, leave_out=~silent | unheard
    )
    return _median([min(value, _LARGEST_REJECTION_DB) for value in rejected.values])


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.nan


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else math.nan
