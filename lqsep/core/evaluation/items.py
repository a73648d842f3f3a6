"""What is scored one by one: chunks or tracks, planned before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lqsep.core.evaluation.protocols import Protocol
from lqsep.core.interfaces.dataset import Dataset


@dataclass(frozen=True)
class EvaluationItem:
    """One chunk or one track of a data set.

    Args:
        item: Identifies it within data set and protocol; letters, digits, ``.``, ``_`` and ``-``
            only, so that it can name a file. The same for the same data set, protocol and seed.
        index: Of the track in the data set.
        track: The track's name.
        start_s: Where it starts in the track, in seconds.
        duration_s: Its length in seconds.
    """

    item: str
    index: int
    track: str
    start_s: float
    duration_s: float


def plan_items(
    dataset: Dataset,
    protocol: Protocol,
    *,
    sources: Sequence[str],
    seed: int = 0,
    n_tracks: int | None = None,
) -> list[EvaluationItem]:
    """The items of a data set, in its order.

    For chunks, reads as much as it takes to know that no source is silent in them.

    Args:
        dataset: Tracks with their stems.
        protocol: See `lqsep.core.evaluation.protocols`.
        sources: The model's, ``Separator.sources``.
        seed: Decides which chunks are taken; nothing else.
        n_tracks: The first so many only.

    Raises:
        ConfigError: The data set lacks one of the sources.
        AudioError: A file cannot be read, or no track has anything to score.
    """
    raise NotImplementedError
