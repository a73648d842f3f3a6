"""How a result looks at first sight: who holds the energy, where the candidates disagree."""

from __future__ import annotations

from collections.abc import Mapping

from lqsep.core.separation.report import SeparationReport

# Seconds of the stretch that is named.
_STRETCH_S = 6

# Below this nobody disagrees: a hundredth of the candidates' energy.
_LEAST = 0.01


def self_check(report: SeparationReport, energy_shares: Mapping[str, float]) -> str:
    """In one line.

    Args:
        report: Of the separation.
        energy_shares: Of the sources, see `StemFiles.energy_shares`.
    """
    parts = [f"{name} holds {_percent(share)}" for name, share in energy_shares.items()]
    text = " and ".join(parts) + " of the energy"
    place = most_disagreement(report)
    if place is not None:
        source, start_s = place
        text += (
            f"; candidates disagree most on {source} at {_clock(start_s)} to "
            f"{_clock(start_s + _STRETCH_S)}"
        )
    return text


def most_disagreement(report: SeparationReport) -> tuple[str, float] | None:
    """Source and start in seconds of the six seconds that candidates agree least on; None if all
    agree, or the input is hardly longer.
    """
    curves: dict[str, dict[int, float]] = {}
    for segment in report.segments:
        for source, values in segment.disagreement.items():
            for second, value in enumerate(values):
                # Where segments overlap the later one counts.
                curves.setdefault(source, {})[round(segment.start_s) + second] = value
    best: tuple[float, str, int] | None = None
    for source, curve in curves.items():
        seconds = sorted(curve)
        for place in range(len(seconds) - 2 * _STRETCH_S + 1):
            mean = sum(curve[second] for second in seconds[place : place + _STRETCH_S]) / _STRETCH_S
            if mean >= _LEAST and (best is None or mean > best[0]):
                best = mean, source, seconds[place]
    return None if best is None else (best[1], float(best[2]))


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
