"""Pictures of joint tables: one step's codes, and the selector's pairs of candidates.

Rows are source 0, columns source 1. Needs matplotlib, imported on use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from lqsep.core.inference.step_scores import StepScores
from lqsep.core.plotting.spectrograms import new_figure, save_figure

# Colours reach from the best value to this many nats below: less than 1e-8 of its probability.
_RANGE = 20.0

# Rows and columns that get their number written beside them, at most.
_MOST_TICKS = 16

Array = npt.NDArray[np.float64]


def plot_step(
    scores: StepScores, sources: Sequence[str], path: str | Path, *, time_s: float
) -> Path:
    """Draw log prior, log likelihood and log posterior of one frame's pairs of codes, as PNG.

    Above the joint tables, the codes that were chosen marked in each; below, each source's prior
    and its share of the posterior.

    Args:
        scores: Of the frame.
        sources: Names of the two sources.
        path: The file; replaced if it exists.
        time_s: Where the frame is in the mixture.

    Returns:
        The path.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    codes = [_array(values) for values in scores.codes]
    log_prior = [_array(values) for values in scores.log_prior]
    log_posterior = _array(scores.log_posterior)
    mark = [
        int(np.flatnonzero(shown == chosen)[0])
        for shown, chosen in zip(codes, scores.chosen, strict=True)
    ]
    figure = new_figure(17, 10.5)
    figure.suptitle(f"frame {scores.frame}, {time_s:.2f} s: {_shown(codes, log_posterior)}")
    grid = figure.add_gridspec(2, 6, height_ratios=[3, 2])
    tables = {
        "log prior of both": log_prior[0][:, None] + log_prior[1],
        "log likelihood (unnormalised)": _array(scores.log_likelihood),
        "log posterior": log_posterior,
    }
    labels = [[str(int(code)) for code in shown] for shown in codes]
    names = [f"code of {name}" for name in sources]
    for place, (title, table) in enumerate(tables.items()):
        axis = figure.add_subplot(grid[0, 2 * place : 2 * place + 2])
        _draw_table(figure, axis, table, title, names, labels, mark, "nats")
    for source in (0, 1):
        axis = figure.add_subplot(grid[1, 3 * source : 3 * source + 3])
        posterior = np.exp(log_posterior).sum(1 - source)
        _draw_shares(axis, np.exp(log_prior[source]), posterior, labels[source], mark[source])
        axis.set_title(f"{sources[source]}: prior and posterior", parse_math=False)
        axis.set_xlabel(names[source], parse_math=False)
    return _saved(figure, path)


def plot_pairs(
    log_prior: Float[Tensor, "candidates candidates"],
    error: Float[Tensor, "candidates candidates"],
    log_posterior: Float[Tensor, "candidates candidates"],
    picks: Sequence[int] | None,
    sources: Sequence[str],
    path: str | Path,
    *,
    numbers: Sequence[int],
    title: str,
) -> Path:
    """Draw the pairs of candidates: prior, distance to the mixture, posterior; as PNG.

    Candidates are in the order of their marginal posterior, the most probable first; the picked
    pair is marked.

    Args:
        log_prior: ``[i, j]``: candidate i of source 0 with candidate j of source 1, nats per frame.
        error: Squared distance of their sum to the mixture.
        log_posterior: Normalised over all pairs.
        picks: The index of the candidate that was selected, per source; None where several were.
        sources: Names of the two sources.
        path: The file; replaced if it exists.
        numbers: What the candidates are called.
        title: Of the figure.

    Returns:
        The path.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    posterior = _array(log_posterior)
    orders = [np.argsort(-np.exp(posterior).sum(1 - axis), kind="stable") for axis in (0, 1)]
    place = np.ix_(*orders)
    mark = None
    if picks is not None:
        mark = [int(np.flatnonzero(o == pick)[0]) for o, pick in zip(orders, picks, strict=True)]
    labels = [[str(numbers[index]) for index in order] for order in orders]
    names = [f"candidate of {name}" for name in sources]
    figure = new_figure(17, 6)
    figure.suptitle(title, parse_math=False)
    axes = figure.subplots(1, 3)
    tables = (
        ("log prior per frame", _array(log_prior), "nats"),
        ("squared distance to the mixture", _array(error), "energy"),
        ("log posterior of the pair", posterior, "nats"),
    )
    for axis, (name, table, unit) in zip(axes, tables, strict=True):
        _draw_table(figure, axis, table[place], name, names, labels, mark, unit)
    return _saved(figure, path)


def _draw_table(
    figure: Any,
    axis: Any,
    table: Array,
    title: str,
    names: Sequence[str],
    labels: Sequence[Sequence[str]],
    mark: Sequence[int] | None,
    unit: str,
) -> None:
    """One table as colours, impossible pairs grey; energies are better when small."""
    finite = table[np.isfinite(table)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    is_log = unit == "nats"
    cut = is_log and high - low > _RANGE
    image = axis.imshow(
        np.ma.masked_invalid(table),
        cmap="viridis" if is_log else "viridis_r",
        vmin=high - _RANGE if cut else low,
        vmax=high,
        aspect="auto",
        interpolation="nearest",
    )
    axis.set_facecolor("lightgrey")
    if mark is not None:
        for colour, width in (("white", 4), ("crimson", 2)):
            axis.plot(
                mark[1], mark[0], "o", markersize=13, markerfacecolor="none",
                markeredgecolor=colour, markeredgewidth=width, clip_on=False,
            )  # fmt: skip
    axis.set_title(title)
    axis.set_ylabel(names[0], parse_math=False)
    axis.set_xlabel(names[1], parse_math=False)
    axis.set_yticks(*_ticks(labels[0]))
    axis.set_xticks(*_ticks(labels[1]), rotation=90)
    figure.colorbar(image, ax=axis, label=unit, extend="min" if cut else "neither")


def _draw_shares(
    axis: Any, prior: Array, posterior: Array, labels: Sequence[str], mark: int
) -> None:
    place = np.arange(len(labels))
    axis.bar(place - 0.2, prior, 0.4, label="prior", color="tab:blue")
    axis.bar(place + 0.2, posterior, 0.4, label="posterior", color="tab:orange")
    axis.axvline(mark, color="crimson", linewidth=1, linestyle=":", label="chosen")
    axis.set_xticks(*_ticks(labels, 2 * _MOST_TICKS), rotation=90)
    axis.set_xlim(-1, len(labels))
    axis.set_ylabel("probability")
    axis.legend()


def _ticks(labels: Sequence[str], most: int = _MOST_TICKS) -> tuple[list[int], list[str]]:
    places = list(range(0, len(labels), -(-len(labels) // most)))
    return places, [labels[place] for place in places]


def _shown(codes: Sequence[Array], log_posterior: Array) -> str:
    if all(np.array_equal(shown, np.arange(len(shown))) for shown in codes):
        return "all codes, in order"
    share = np.exp(log_posterior).sum()
    return (
        f"the {len(codes[0])} most probable codes of each source, the best first; their pairs hold "
        f"{share:.0%} of the posterior"
    )


def _array(values: Tensor) -> Array:
    return np.asarray(values.detach().cpu().double().numpy())


def _saved(figure: Any, path: str | Path) -> Path:
    path = Path(path)
    save_figure(figure, path)
    return path
