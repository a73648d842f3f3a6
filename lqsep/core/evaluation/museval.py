"""museval's BSS Eval version 4, without the rest of museval.

Importing the package needs ffmpeg and ffprobe, which it uses for reading files; its ``metrics.py``
needs numpy and scipy only and is loaded by its place in the installed package.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lqsep.core.errors import ConfigError, ShapeError
from lqsep.core.signal.metrics import LIMIT_DB

METRICS = ("sdr", "isr", "sir", "sar")
"""In the order of museval's results."""

Waves = npt.NDArray[np.floating[Any]]
"""``sources channels samples``."""

# One sample of this, or of the rounding of what is there, keeps museval from leaving a window out,
# and changes nothing that it computes.
_TRACE = 1e-30


def museval_metrics(
    references: Waves, estimates: Waves, *, window: int, hop: int
) -> dict[str, npt.NDArray[np.float64]]:
    """SDR, ISR, SIR and SAR of every source and window, as ``museval.evaluate`` gives them.

    Distortion filters of 512 taps are fitted to the whole waves. A window in which any reference
    is silent has no values, for no source. Different from museval are two things. It leaves a
    window out where any estimate is silent, too; here a silent estimate has the values of one that
    is next to silent: its SDR and SAR are 0 dB. And values stay within
    `lqsep.core.signal.metrics.LIMIT_DB`.

    Args:
        references: The true sources.
        estimates: Of the same shape.
        window: Samples; a rest that does not fill a window is left out, a wave that is shorter
            than a window is one.
        hop: Samples from one window's start to the next.

    Returns:
        By metric, dB, ``sources windows``; NaN where there is no value. A source that is silent
        throughout leaves nothing but NaN; an estimate that is has no SIR and SAR.

    Raises:
        ConfigError: museval or scipy is not installed.
        ShapeError: The shapes differ or have no samples.

    Reference: Stöter, Liutkus and Ito 2018, arXiv:1804.06267; Vincent et al. 2007, "First stereo
    audio source separation evaluation campaign".
    """
    bss_eval = load_bss_eval()
    if references.shape != estimates.shape or references.ndim != 3 or references.size == 0:
        raise ShapeError(
            "museval: expected equal shapes (sources, channels, samples) with at least one sample, "
            f"got references {references.shape} and estimates {estimates.shape}."
        )
    n_windows = max(0, references.shape[2] - window) // hop + 1
    undefined = {name: np.full((len(references), n_windows), np.nan) for name in METRICS}
    if not _sounds(references).all():
        return undefined
    # museval wants samples before channels.
    s, e = (wave.astype(np.float64).transpose(0, 2, 1) for wave in (references, estimates))
    for start in range(0, n_windows * hop, hop):
        silent = ~_sounds(estimates[..., start : start + window])
        e[silent, start, 0] += _TRACE + np.spacing(np.abs(e[silent, start, 0]))
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            *values, _ = bss_eval(s, e, window=window, hop=hop)
    except (np.linalg.LinAlgError, AttributeError):
        # Sources that are filtered copies of each other have no unique filters. museval then
        # looks the error up under a name that numpy no longer has.
        return undefined
    found = {
        name: np.clip(table, -LIMIT_DB, LIMIT_DB)
        for name, table in zip(METRICS, values, strict=True)
    }
    for name in ("sir", "sar"):  # ratios of parts of the trace alone
        found[name][~estimates.any((1, 2))] = np.nan
    return found


def _sounds(waves: Waves) -> npt.NDArray[np.bool_]:
    """Of every source, whether it is more than silence as museval knows it."""
    sounds: npt.NDArray[np.bool_] = waves.sum(1).any(1)
    return sounds


@cache
def load_bss_eval() -> Callable[..., tuple[npt.NDArray[np.float64], ...]]:
    """museval's function ``bss_eval``.

    Raises:
        ConfigError: museval or scipy is not installed, or museval is not laid out as expected.
    """
    advice = "Install them with: pip install 'lqsep[eval]'."
    spec = importlib.util.find_spec("museval")
    path = Path(spec.origin).with_name("metrics.py") if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ConfigError(f"evaluation: this protocol needs museval and scipy. {advice}")
    metrics = importlib.util.spec_from_file_location("lqsep._museval_metrics", path)
    assert metrics is not None and metrics.loader is not None
    module = importlib.util.module_from_spec(metrics)
    try:
        metrics.loader.exec_module(module)
        found: Callable[..., tuple[npt.NDArray[np.float64], ...]] = module.bss_eval
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"evaluation: cannot use {path}: {error}. {advice}") from error
    return found
