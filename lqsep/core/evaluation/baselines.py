"""What a separation is compared with: the mixture itself, median filters, the best of all masks.

All take a mixture ``channels samples`` and give stems ``sources channels samples``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lqsep.core.errors import ShapeError
from lqsep.core.signal.masks import DEFAULT_WINDOW_S, istft, soft_masks, stft, window_length
from lqsep.core.signal.metrics import windowed_sdr

# Values sorted at a time by the median filter: 64 MB in float32.
_MAX_SORTED = 1 << 24


@dataclass(frozen=True)
class HpssSetting:
    """Sizes of the median filters.

    Args:
        window_s: Window of the transform, in seconds.
        time_s: Filter along time, which keeps what lasts.
        frequency_hz: Filter along frequency, which keeps what is broad.
        exponent: Of the magnitudes in the masks.
    """

    window_s: float = DEFAULT_WINDOW_S
    time_s: float = 0.4
    frequency_hz: float = 330.0
    exponent: float = 2.0


HPSS_GRID = tuple(
    HpssSetting(window_s=window_s, time_s=time_s, frequency_hz=frequency_hz)
    for window_s in (DEFAULT_WINDOW_S / 2, DEFAULT_WINDOW_S)
    for time_s in (0.2, 0.4)
    for frequency_hz in (170.0, 330.0, 660.0)
)
"""Settings to choose the best from, per data set."""


def share_mixture(
    mixture: Float[Tensor, "channels samples"], n_sources: int
) -> Float[Tensor, "sources channels samples"]:
    """The mixture divided by the number of sources, for every source."""
    return (mixture / n_sources).expand(n_sources, *mixture.shape)


def hpss(
    mixture: Float[Tensor, "channels samples"],
    sample_rate: int,
    setting: HpssSetting | None = None,
) -> Float[Tensor, "2 channels samples"]:
    """Harmonic and percussive part, in this order: for bass and drums. They sum to the mixture.

    A steady tone is a ridge along time, a stroke one along frequency. The median along time
    removes strokes, the median along frequency removes tones; the two filtered magnitudes make
    soft masks, common to all channels.

    Raises:
        ShapeError: The mixture has no samples.

    Reference: FitzGerald 2010, "Harmonic/percussive separation using median filtering", DAFx,
    equations 4 to 9.
    """
    if mixture.ndim != 2 or mixture.shape[1] < 1:
        raise ShapeError(
            f"hpss: expected a wave (channels, samples), got shape {tuple(mixture.shape)}."
        )
    setting = setting or HpssSetting()
    window = window_length(sample_rate, setting.window_s)
    spectrum = stft(mixture, window)
    magnitude = spectrum.abs().square().mean(0).sqrt()
    n_frames = _odd(setting.time_s * sample_rate / (window // 4))
    n_bins = _odd(setting.frequency_hz * window / sample_rate)
    filtered = torch.stack(
        [_median_filter(magnitude, n_frames), _median_filter(magnitude.T, n_bins).T]
    )
    mask = soft_masks(filtered.square(), setting.exponent)
    return istft(mask[:, None] * spectrum, mixture.shape[1])


def best_hpss(
    tracks: Iterable[tuple[Tensor, Tensor, Tensor, int]],
    grid: Sequence[HpssSetting] = HPSS_GRID,
) -> HpssSetting:
    """The setting of the best mean over tracks and both parts of the median `windowed_sdr`.

    Args:
        tracks: ``(mixture, harmonic reference, percussive reference, sample_rate)`` of each.
        grid: Settings to try.
    """
    totals = [0.0] * len(grid)
    for mixture, harmonic, percussive, sample_rate in tracks:
        for number, setting in enumerate(grid):
            found = hpss(mixture, sample_rate, setting)
            for reference, estimate in zip((harmonic, percussive), found, strict=True):
                score = windowed_sdr(reference, estimate, sample_rate).median
                if not math.isnan(score):  # a silent reference says nothing of the setting
                    totals[number] += score
    return grid[totals.index(max(totals))]


def oracle_masks(
    mixture: Float[Tensor, "channels samples"],
    references: Float[Tensor, "sources channels samples"],
    sample_rate: int,
    *,
    exponent: float = 2.0,
    window_s: float = DEFAULT_WINDOW_S,
) -> Float[Tensor, "sources channels samples"]:
    """The mixture under the soft masks of the true sources: about the best that masks can do.

    Each channel has its own masks.

    Raises:
        ShapeError: References and mixture do not have the same channels and samples.
    """
    if references.shape[1:] != mixture.shape:
        raise ShapeError(
            f"oracle masks: expected references (sources, *{tuple(mixture.shape)}), got shape "
            f"{tuple(references.shape)}."
        )
    window = window_length(sample_rate, window_s)
    mask = soft_masks(stft(references, window).abs().square(), exponent)
    return istft(mask * stft(mixture, window), mixture.shape[1])


def _odd(length: float) -> int:
    """The nearest odd number, at least 3."""
    return max(3, 2 * round((length - 1) / 2) + 1)


def _median_filter(values: Float[Tensor, "rows steps"], length: int) -> Float[Tensor, "rows steps"]:
    """Median over ``length`` (odd) steps around each; the ends are continued."""
    reach = length // 2
    padded = functional.pad(values[None], (reach, reach), mode="replicate")[0]
    step = max(1, _MAX_SORTED // (values.shape[1] * length))
    parts = [padded[row : row + step] for row in range(0, len(padded), step)]
    return torch.cat([part.unfold(1, length, 1).median(-1).values for part in parts])
