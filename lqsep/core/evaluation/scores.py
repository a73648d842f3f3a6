"""Figures of one estimate on a whole track, one per source, under each track protocol.

What a window's values are where something is silent or perfect: see `lqsep.core.signal.metrics` and
`lqsep.core.evaluation.museval`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.evaluation.museval import museval_metrics
from lqsep.core.signal.metrics import (
    WindowedScore,
    silent_windows,
    windowed_sdr,
    windowed_si_sdr,
)

Stems = Float[Tensor, "sources channels samples"]
Wave = Float[Tensor, "channels samples"]

# Length of a window and from one window's start to the next, in seconds.
_MUSEVAL_S = _SDR_S = 1.0
_SI_SDR_WINDOW_S, _SI_SDR_HOP_S = 4.0, 2.0


@dataclass(frozen=True)
class Figure:
    """What one metric says of one source in one item.

    Args:
        value: dB; NaN where no window has a value.
        n_windows: Windows of the item.
        n_undefined: Of these, how many have no value.
    """

    value: float
    n_windows: int = 1
    n_undefined: int = 0

    @classmethod
    def of_one(cls, value: float) -> Figure:
        """Of an item that is one window."""
        return cls(value, 1, int(math.isnan(value)))


def museval_scores(
    references: Stems, estimates: Stems, sample_rate: int
) -> dict[str, list[Figure]]:
    """By metric and source, the median over the windows that have a value.

    Raises:
        ConfigError: museval is not installed.
    """
    window = round(_MUSEVAL_S * sample_rate)
    values = museval_metrics(references.numpy(), estimates.numpy(), window=window, hop=window)
    found: dict[str, list[Figure]] = {}
    for name, rows in values.items():
        missing = np.isnan(rows)
        found[name] = [
            _median(WindowedScore(tuple(row[~lacks].tolist()), int(lacks.sum())))
            for row, lacks in zip(rows, missing, strict=True)
        ]
    return found


def si_sdr_scores(
    references: Stems, estimates: Stems, mixture: Wave, rate: int
) -> dict[str, list[Figure]]:
    """``si_sdr`` and its improvement over the mixture, by source: means over windows.

    Windows in which any source is silent have no value.
    """
    size = {"window_s": _SI_SDR_WINDOW_S, "hop_s": _SI_SDR_HOP_S}
    silent = torch.stack([silent_windows(reference, rate, **size) for reference in references])
    found: dict[str, list[Figure]] = {"si_sdr": [], "si_sdri": []}
    for reference, estimate in zip(references, estimates, strict=True):
        after, before = (
            windowed_si_sdr(reference, wave, rate, leave_out=silent.any(0), **size)
            for wave in (estimate, mixture)
        )
        gained = tuple(a - b for a, b in zip(after.values, before.values, strict=True))
        found["si_sdr"].append(_mean(after))
        found["si_sdri"].append(_mean(replace(after, values=gained)))
    return found


def track_scores(
    references: Stems, estimates: Stems, mixture: Wave, rate: int
) -> dict[str, list[Figure]]:
    """``sdr`` (median over windows) and ``si_sdr`` (mean), by source, where the source sounds.

    And ``rejection``, if there are windows in which a source is silent and the mixture is not:
    energy of the mixture over that of the estimate, in dB, median over these windows.
    """
    found: dict[str, list[Figure]] = {"sdr": [], "si_sdr": [], "rejection": []}
    for reference, estimate in zip(references, estimates, strict=True):
        found["sdr"].append(_median(windowed_sdr(reference, estimate, rate, window_s=_SDR_S)))
        si_sdr = windowed_si_sdr(
            reference, estimate, rate, window_s=_SI_SDR_WINDOW_S, hop_s=_SI_SDR_HOP_S
        )
        found["si_sdr"].append(_mean(si_sdr))
        found["rejection"].append(_median(_rejection(reference, estimate, mixture, rate)))
    if all(math.isnan(figure.value) for figure in found["rejection"]):
        del found["rejection"]
    return found


def _rejection(reference: Wave, estimate: Wave, mixture: Wave, rate: int) -> WindowedScore:
    silent, unheard = (silent_windows(w, rate, window_s=_SDR_S) for w in (reference, mixture))
    # Taken as the error of the rest: SDR is then the energy of the mixture over the estimate's.
    whole = mixture.double()
    return windowed_sdr(
        whole, whole - estimate.double(), rate, window_s=_SDR_S, leave_out=~silent | unheard
    )


def _mean(windows: WindowedScore) -> Figure:
    return Figure(windows.mean, len(windows.values) + windows.n_silent, windows.n_silent)


def _median(windows: WindowedScore) -> Figure:
    return Figure(windows.median, len(windows.values) + windows.n_silent, windows.n_silent)
