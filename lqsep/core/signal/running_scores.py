"""SDR and SI-SDR of long waves, taken block by block.

The same figures as `lqsep.core.signal.metrics` gives for waves in memory: of the whole, and the
median over windows of one second. Only four energies per window are kept.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lqsep.core.errors import ShapeError
from lqsep.core.signal.metrics import SILENCE_DB, limited


@dataclass(frozen=True)
class Score:
    """How close an estimate is to a reference, in dB; NaN where the reference has no energy.

    All figures are within `lqsep.core.signal.metrics.LIMIT_DB`.

    Args:
        sdr: Of the whole wave; ``si_sdr`` likewise.
        sdr_median: Over the windows that count; ``si_sdr_median`` likewise.
        n_windows: How many count.
        n_silent: How many do not, as their reference is silent.
    """

    sdr: float
    si_sdr: float
    sdr_median: float
    si_sdr_median: float
    n_windows: int
    n_silent: int


class RunningScore:
    """Compares two waves that come in blocks.

    Args:
        sample_rate: Hz.
        window_s: Length of a window; a wave that is shorter is one window, a rest that does not
            fill a window counts for the whole only.
        silence_db: Windows whose reference has a lower RMS, relative to full scale, are left out.
    """

    def __init__(
        self, sample_rate: int, *, window_s: float = 1.0, silence_db: float = SILENCE_DB
    ) -> None:
        self._length = max(1, round(window_s * sample_rate))
        self._silence = 10 ** (silence_db / 10)
        self._energies: list[Tensor] = []
        self._n_samples = 0
        self._channels = 1

    def push(
        self,
        reference: Float[Tensor, "channels samples"],
        estimate: Float[Tensor, "channels samples"],
    ) -> None:
        """The next samples of both.

        Raises:
            ShapeError: The shapes differ.
        """
        if reference.shape != estimate.shape:
            raise ShapeError(
                "comparing waves: expected blocks of equal shapes, got reference "
                f"{tuple(reference.shape)} and estimate {tuple(estimate.shape)}"
            )
        self._channels, n_samples = reference.shape
        done = 0
        while done < n_samples:
            place = self._n_samples % self._length
            part = slice(done, done + min(n_samples - done, self._length - place))
            energies = _energies(reference[:, part].double(), estimate[:, part].double())
            if place == 0:
                self._energies.append(energies)
            else:
                self._energies[-1] = self._energies[-1] + energies
            self._n_samples += part.stop - part.start
            done = part.stop

    def result(self) -> Score:
        """The figures so far.

        Raises:
            ShapeError: Nothing was pushed.
        """
        if not self._energies:
            raise ShapeError("comparing waves: expected at least one sample, got none")
        table = torch.stack(self._energies)
        windows = table[: max(1, self._n_samples // self._length)]
        n_values = self._channels * min(self._length, self._n_samples)
        silent = windows[:, 0] / n_values <= self._silence
        whole, counting = table.sum(0), windows[~silent]
        return Score(
            sdr=float(_sdr(whole)),
            si_sdr=float(_si_sdr(whole)),
            sdr_median=_median(_sdr(counting)),
            si_sdr_median=_median(_si_sdr(counting)),
            n_windows=len(counting),
            n_silent=int(silent.sum()),
        )


def _energies(
    s: Float64[Tensor, "channels samples"], e: Float64[Tensor, "channels samples"]
) -> Float64[Tensor, " 4"]:
    """|s|^2, |s - e|^2, <s, e> and |e|^2."""
    return torch.stack([s.square().sum(), (s - e).square().sum(), (s * e).sum(), e.square().sum()])


def _sdr(energies: Float64[Tensor, "*windows 4"]) -> Tensor:
    value = limited(10 * torch.log10(energies[..., 0] / energies[..., 1]))
    return value.masked_fill(energies[..., 0] == 0, math.nan)


def _si_sdr(energies: Float64[Tensor, "*windows 4"]) -> Tensor:
    """``|a s|^2 / |a s - e|^2`` with ``a = <e, s> / |s|^2``, by Pythagoras from the energies."""
    s, _, product, e = energies.unbind(-1)
    target = product.square() / s
    value = 10 * torch.log10(target / (e - target).clamp(min=0))
    # A silent estimate has nothing of the reference.
    return limited(value.masked_fill((e == 0) & (s > 0), -math.inf))


def _median(values: Tensor) -> float:
    return statistics.median(values.tolist()) if len(values) else math.nan
