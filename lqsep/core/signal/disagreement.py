"""How far candidates differ as sound, second by second."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def disagreement(
    waves: Float[Tensor, "sources candidates channels samples"],
    weights: Float[Tensor, "sources candidates"],
    sample_rate: int,
    *,
    window_s: float = 1.0,
) -> Float64[Tensor, "sources windows"]:
    """Share of the candidates' energy that their mean does not hold.

    With candidates ``x_n`` of weights ``w_n``, ``1 - |sum_n w_n x_n|^2 / sum_n w_n |x_n|^2`` over
    each window: 0 where all agree or are silent, ``1 - 1/N`` for ``N`` equally loud, equally
    weighted ones without anything in common, 1 where they cancel each other.

    Args:
        waves: Decoded sources, or stems of single candidates.
        weights: At least 0; each row sums to one.
        sample_rate: Of the waves, in Hz.
        window_s: Length of a window in seconds; the last one may be shorter.

    Returns:
        One curve per source.

    Raises:
        ValueError: A window has no samples.
    """
    n_window = round(window_s * sample_rate)
    if n_window < 1:
        raise ValueError(f"window_s = {window_s} at {sample_rate} Hz is less than a sample")
    curves = []
    # One source at a time: the products are as large as its waves.
    for wave, weight in zip(waves, weights, strict=True):
        weight = weight.to(wave)
        mean = torch.einsum("n,ncs->cs", weight, wave)
        energy = torch.einsum("n,ncs->s", weight, wave.square())
        spread = torch.einsum("n,ncs->s", weight, (wave - mean).square())
        curves.append(_window_sums(spread, n_window) / _window_sums(energy, n_window))
    return torch.stack(curves).nan_to_num(nan=0.0)


def _window_sums(values: Float[Tensor, " samples"], n_window: int) -> Float64[Tensor, " windows"]:
    padded = torch.nn.functional.pad(values, (0, -len(values) % n_window))
    return padded.view(-1, n_window).sum(1, dtype=torch.float64)
