"""How close an estimate is to a reference, in dB.

Conventions: waves are ``channels samples`` (or ``samples``), estimate and reference of the same
shape; all channels count together, as one long vector; computed in float64. ``s`` is the
reference, ``e`` the estimate, ``|.|`` the Euclidean norm.

Metrics: `sdr` and `si_sdr` of whole waves, and of windows (`windowed_sdr`, `windowed_si_sdr`);
`candidate_sdr` of many estimates at once. They differ: `sdr` punishes a wrong level, `si_sdr` does
not. Neither allows for filtering, as bss_eval_sources does. museval's (version 4, images) is
`sdr`: the filters that it fits only divide the error into parts, for its ISR, SIR and SAR.
Where they differ is silence: museval gives a window no value when any source or estimate is silent
in it.

Nothing is added to avoid division by zero, and no mean is subtracted. A silent reference leaves
nothing to compare with; a silent estimate has a value, as it has an error. Of whole waves the
figures may be infinite, of windows and candidates they stay within `LIMIT_DB`.

References: Le Roux et al. 2019, "SDR - half-baked or well done?", arXiv:1811.02508; Stöter, Liutkus
and Ito 2018, "The 2018 signal separation evaluation campaign", arXiv:1804.06267 (windows, medians).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from lqsep.core.errors import ShapeError

Wave = Float[Tensor, "..."] | npt.NDArray[Any]
"""``channels samples`` or ``samples``."""

SILENCE_DB = -80.0
"""A window whose RMS is below this, relative to full scale, counts as silent."""

LIMIT_DB = 100.0
"""Figures of windows and candidates stay within this, above and below: about what 16 bits resolve.

Else a window that is perfect, or has nothing of its source, would leave a track without a mean.
"""

# Values taken to double precision at a time: 64 MB.
_BLOCK = 1 << 23


@dataclass(frozen=True)
class WindowedScore:
    """One value per window that counts.

    Args:
        values: dB, within `LIMIT_DB`, in order of time; windows with a silent reference are left
            out.
        n_silent: How many were left out.
    """

    values: tuple[float, ...]
    n_silent: int

    @property
    def median(self) -> float:
        """NaN when no window counts."""
        return statistics.median(self.values) if self.values else math.nan

    @property
    def mean(self) -> float:
        """NaN when no window counts."""
        return statistics.fmean(self.values) if self.values else math.nan


def sdr(reference: Wave, estimate: Wave) -> float:
    """Ratio of energies, ``10 log10(|s|^2 / |s - e|^2)``.

    Infinite when both are equal; 0 for a silent estimate. Where the reference has no energy, minus
    infinity, or NaN if the estimate has none either.

    Raises:
        ShapeError: The shapes differ, or there are no samples.
    """
    s, e = _pair(reference, estimate)
    return float(_sdr(s.flatten(), e.flatten()))


def si_sdr(reference: Wave, estimate: Wave) -> float:
    """The scale-invariant ratio, ``10 log10(|a s|^2 / |a s - e|^2)`` with ``a = <e, s> / |s|^2``.

    NaN when the reference has no energy; minus infinity when the estimate has nothing of it, as a
    silent one has. Infinite, or nearly so by rounding, when they are equal up to a factor.

    Raises:
        ShapeError: The shapes differ, or there are no samples.

    Reference: Le Roux et al. 2019, equation 3 (equivalently 5).
    """
    s, e = _pair(reference, estimate)
    return float(_si_sdr(s.flatten(), e.flatten()))


def candidate_sdr(
    references: Float[Tensor, "sources samples"],
    estimates: Float[Tensor, "sources candidates samples"],
) -> Float64[Tensor, "sources candidates"]:
    """`sdr` of every candidate of every source, as museval gives it for one window of one source.

    Within `LIMIT_DB`; NaN where the reference is silent throughout. A silent candidate, to which
    museval gives no value, has 0 dB.

    Raises:
        ShapeError: The sources or samples differ in number, or there are no samples.
    """
    if references.shape != estimates[:, 0].shape or references.shape[-1] < 1:
        raise ShapeError(
            "comparing candidates: expected references (sources, samples) and estimates (sources, "
            f"candidates, samples), got {tuple(references.shape)} and {tuple(estimates.shape)}."
        )
    s = references.detach().double()[:, None]
    parts = []
    step = max(1, _BLOCK // references.numel())
    for block in torch.split(estimates.detach(), step, dim=1):
        e = block.to(s.device, torch.float64)
        parts.append(limited(_sdr(s, e)).masked_fill((s == 0).all(-1), math.nan))
    return torch.cat(parts, 1)


def windowed_sdr(
    reference: Wave,
    estimate: Wave,
    sample_rate: int,
    *,
    window_s: float = 1.0,
    hop_s: float | None = None,
    silence_db: float = SILENCE_DB,
    leave_out: Bool[Tensor, " windows"] | None = None,
) -> WindowedScore:
    """`sdr` of every window, within `LIMIT_DB`; its ``median`` is the usual figure of a track.

    Args:
        reference: The true source.
        estimate: What was found.
        sample_rate: Hz.
        window_s: Length of a window; a wave that is shorter is one window.
        hop_s: From one window's start to the next, default the length: no overlap. A rest that
            does not fill a window is left out.
        silence_db: Windows whose reference has a lower RMS are left out.
        leave_out: Which windows to leave out instead; see `silent_windows`.

    Raises:
        ShapeError: The shapes differ, or there are no samples.
    """
    return _windowed(_sdr, reference, estimate, sample_rate, window_s, hop_s, silence_db, leave_out)


def windowed_si_sdr(
    reference: Wave,
    estimate: Wave,
    sample_rate: int,
    *,
    window_s: float = 4.0,
    hop_s: float | None = 2.0,
    silence_db: float = SILENCE_DB,
    leave_out: Bool[Tensor, " windows"] | None = None,
) -> WindowedScore:
    """`si_sdr` of every window, within `LIMIT_DB`; arguments as `windowed_sdr`."""
    return _windowed(
        _si_sdr, reference, estimate, sample_rate, window_s, hop_s, silence_db, leave_out
    )


def silent_windows(
    wave: Wave,
    sample_rate: int,
    *,
    window_s: float = 1.0,
    hop_s: float | None = None,
    silence_db: float = SILENCE_DB,
) -> Bool[Tensor, " windows"]:
    """Which windows of a wave are silent, to leave out those where any source is."""
    return _silent(_windows(_double(wave), sample_rate, window_s, hop_s), silence_db)


def limited(values: Float64[Tensor, "*values"]) -> Float64[Tensor, "*values"]:
    """Figures in dB, brought within `LIMIT_DB`; NaN stays."""
    return values.clamp(-LIMIT_DB, LIMIT_DB)


def _windowed(
    metric: Callable[[Tensor, Tensor], Tensor],
    reference: Wave,
    estimate: Wave,
    sample_rate: int,
    window_s: float,
    hop_s: float | None,
    silence_db: float,
    leave_out: Tensor | None,
) -> WindowedScore:
    s, e = (_windows(wave, sample_rate, window_s, hop_s) for wave in _pair(reference, estimate))
    silent = _silent(s, silence_db) if leave_out is None else leave_out.to(s.device)
    values = limited(metric(s[~silent], e[~silent]))
    return WindowedScore(tuple(values.tolist()), int(silent.sum()))


def _windows(
    wave: Float64[Tensor, "channels samples"],
    sample_rate: int,
    window_s: float,
    hop_s: float | None,
) -> Float64[Tensor, "windows values"]:
    length = min(wave.shape[1], max(1, round(window_s * sample_rate)))
    hop = length if hop_s is None else max(1, round(hop_s * sample_rate))
    return wave.unfold(1, length, hop).transpose(0, 1).flatten(1)


def _silent(windows: Float64[Tensor, "windows values"], silence_db: float) -> Tensor:
    return windows.square().mean(1) <= 10 ** (silence_db / 10)


def _sdr(s: Float64[Tensor, "*#windows values"], e: Float64[Tensor, "*#windows values"]) -> Tensor:
    return _db(s.square().sum(-1), (s - e).square().sum(-1))


def _si_sdr(
    s: Float64[Tensor, "*#windows values"], e: Float64[Tensor, "*#windows values"]
) -> Tensor:
    energy = s.square().sum(-1, keepdim=True)
    target = (e * s).sum(-1, keepdim=True) / energy * s
    value = _db(target.square().sum(-1), (target - e).square().sum(-1))
    # Of a silent estimate the ratio is 0 / 0.
    return value.masked_fill((e == 0).all(-1) & (energy[..., 0] > 0), -math.inf)


def _db(signal: Tensor, distortion: Tensor) -> Tensor:
    """0 / 0 is NaN, as it should be."""
    return 10 * torch.log10(signal / distortion)


def _double(wave: Wave) -> Float64[Tensor, "channels samples"]:
    # A copy: torch warns of arrays that may not be written to.
    tensor = torch.from_numpy(wave.astype(float)) if isinstance(wave, np.ndarray) else wave
    tensor = tensor.detach().double()
    return tensor[None] if tensor.ndim == 1 else tensor


def _pair(reference: Wave, estimate: Wave) -> tuple[Tensor, Tensor]:
    s, e = _double(reference), _double(estimate)
    if s.shape != e.shape or s.ndim != 2 or s.numel() == 0:
        raise ShapeError(
            "comparing waves: expected equal shapes (channels, samples) with at least one sample, "
            f"got reference {tuple(s.shape)} and estimate {tuple(e.shape)}."
        )
    return s, e.to(s.device)
