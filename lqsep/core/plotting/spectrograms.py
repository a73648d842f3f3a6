"""Pictures of a separation. Needs matplotlib, imported on use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lqsep.core.errors import ConfigError, ShapeError
from lqsep.core.files.new_file import new_file, system_words

Wave = Tensor | npt.NDArray[Any]

# Colours reach from the loudest value of all panels to this far below.
_RANGE_DB = 80.0

# Bands and columns of a panel: about one per pixel.
_N_BANDS = 160
_MAX_COLUMNS = 1000

_LOWEST_HZ = 30.0
_N_FFT = 4096


def plot_spectrograms(
    mixture: Wave,
    stems: Mapping[str, Wave],
    sample_rate: int,
    path: str | Path,
    references: Mapping[str, Wave] | None = None,
) -> Path:
    """Draw spectrograms of the mixture and of each stem below each other, as one PNG file.

    Frequency is logarithmic, colours are dB relative to the loudest value of all panels and the
    same in all of them; channels are averaged.

    Args:
        mixture: ``channels samples``, like every other wave.
        stems: By name.
        sample_rate: Hz, of all waves.
        path: The file; replaced if it exists.
        references: True stems, drawn to the right of those of the same name.

    Returns:
        The path.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
        ShapeError: A wave is not ``channels samples`` with at least one sample.
    """
    path = Path(path)
    references = references or {}
    rows = [[("mixture", mixture)]] + [[(name, wave)] for name, wave in stems.items()]
    for row in rows:
        name = row[0][0]
        if name in references:
            row.append((f"{name} (reference)", references[name]))
    n_columns = max(len(row) for row in rows)
    spectra = [[_log_spectrum(wave, sample_rate) for _, wave in row] for row in rows]
    loudest = max(spectrum.max() for row in spectra for spectrum in row)

    figure = new_figure(1.5 + 6.5 * n_columns, 0.5 + 2.5 * len(rows))
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    image = None
    for row_axes, row, row_spectra in zip(axes, rows, spectra, strict=True):
        for axis in row_axes[len(row) :]:
            axis.set_axis_off()
        for axis, (name, wave), spectrum in zip(row_axes, row, row_spectra, strict=False):
            level = 10 * np.log10(np.maximum(spectrum, 1e-30) / max(loudest, 1e-30))
            duration_s = wave.shape[-1] / sample_rate
            image = axis.pcolormesh(
                np.linspace(0, duration_s, level.shape[1] + 1),
                _band_edges(sample_rate),
                level,
                cmap="magma",
                vmin=-_RANGE_DB,
                vmax=0,
                rasterized=True,
            )
            axis.set_yscale("log")
            axis.set_title(name)
            axis.set_ylabel("frequency (Hz)")
            axis.set_xlabel("time (s)")
            axis.yaxis.set_major_formatter("{x:.0f}")
    figure.colorbar(image, ax=axes, label="level (dB)", fraction=0.03, aspect=40)
    save_figure(figure, path)
    return path


def new_figure(width: float, height: float) -> Any:
    """An empty figure of a size in inches, without a window: no display, no global state.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "plots need matplotlib, which is not installed: pip install 'lqsep[eval]'."
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG file, whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        with new_file(path) as part:
            figure.savefig(part, format="png", dpi=100)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {system_words(error)}.") from error


def _log_spectrum(wave: Wave, sample_rate: int) -> npt.NDArray[np.float64]:
    """Mean power per band and column, ``bands columns``."""
    tensor = torch.from_numpy(wave.astype("f")) if isinstance(wave, np.ndarray) else wave
    if tensor.ndim != 2 or tensor.shape[1] < 1:
        raise ShapeError(
            f"plotting: expected a wave (channels, samples), got shape {tuple(tensor.shape)}."
        )
    hop = max(_N_FFT // 8, -(-tensor.shape[1] // _MAX_COLUMNS))
    power = torch.zeros(())
    for channel in tensor.detach().cpu().float():
        spectrum = torch.stft(
            channel,
            _N_FFT,
            hop,
            window=torch.hann_window(_N_FFT),
            pad_mode="constant",
            return_complex=True,
        )
        power = power + spectrum.abs().square() / tensor.shape[0]
    edges = _band_edges(sample_rate) * _N_FFT / sample_rate
    bands = [
        # At least the nearest bin, where bands are narrower than bins.
        power[round(low) : max(round(low) + 1, round(high))].mean(0)
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
    return torch.stack(bands).double().numpy()


def _band_edges(sample_rate: int) -> npt.NDArray[np.float64]:
    """In Hz, evenly spaced on a logarithmic scale."""
    highest = sample_rate / 2
    return np.geomspace(min(_LOWEST_HZ, highest / 2), highest, _N_BANDS + 1)
