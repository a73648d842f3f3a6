"""What is scored one by one: chunks or tracks, planned before anything runs."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lqsep.core.errors import AudioError, ConfigError, LqsepError
from lqsep.core.evaluation.protocols import Protocol
from lqsep.core.evaluation.sound import (
    CHUNK_RATE,
    CHUNK_SAMPLES,
    ItemSound,
    chunk_sound,
    n_chunks,
    read_chunk,
    track_sound,
)
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.separation.run import check_seed

CHUNKS_PER_TRACK = 3
"""Taken at random from every track."""

# A chunk counts as silent where its Euclidean norm, divided by its length, is below this: an RMS
# of -48 dB relative to full scale.
_SILENCE = 1.5e-5

# Characters of a track's name that are kept in an identifier.
_LONGEST_NAME = 80


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
    on_failure: Callable[[str, str], None] | None = None,
) -> list[EvaluationItem]:
    """The items of a data set, in its order.

    For chunks, reads as much as it takes to know that no source is silent in them.

    Args:
        dataset: Tracks with their stems.
        protocol: See `lqsep.core.evaluation.protocols`.
        sources: The model's, ``Separator.sources``.
        seed: Decides which chunks are taken; nothing else.
        n_tracks: The first so many only.
        on_failure: Called with the name of a track that cannot be read and the reason; the track
            is left out. None: it is an error.

    Raises:
        ConfigError: The data set lacks one of the sources, or the seed is no whole number of 0 or
            more.
        AudioError: A file cannot be read, or no track has anything to score (and none failed).
    """
    seed = check_seed(seed)
    missing = [source for source in sources if source not in dataset.sources]
    if missing:
        raise ConfigError(
            f"evaluation: the model separates {', '.join(sources)}, but the data set has no "
            f"{', '.join(missing)}; it has {', '.join(dataset.sources)}. Choose another data set, "
            "layout or model."
        )
    count = len(dataset) if n_tracks is None else min(n_tracks, len(dataset))
    items: list[EvaluationItem] = []
    n_failed = 0
    for index in range(count):
        try:
            items += plan_track(dataset, index, protocol, sources=sources, seed=seed)
        except LqsepError as error:
            if on_failure is None or error.exit_code != 1:
                raise
            n_failed += 1
            on_failure(_name(dataset, index), str(error))
    if not items and not n_failed:
        raise AudioError(
            f"evaluation: nothing to score in {count} tracks; protocol {protocol.name!r} asks for "
            f"chunks of {CHUNK_SAMPLES / CHUNK_RATE:.2f} s in which no source is silent."
        )
    return _distinct(items)


def plan_track(
    dataset: Dataset, index: int, protocol: Protocol, *, sources: Sequence[str], seed: int = 0
) -> list[EvaluationItem]:
    """The items of one track; none where it has nothing to score. Arguments as `plan_items`.

    Raises:
        AudioError: A file cannot be read.
    """
    plan = _track_chunks if protocol.unit == "chunk" else _whole_track
    return plan(dataset, index, sources, seed)


def load_item(
    dataset: Dataset,
    item: EvaluationItem,
    protocol: Protocol,
    *,
    sources: Sequence[str],
    gains: Sequence[float],
    longest_s: float | None = None,
) -> ItemSound:
    """An item's stems, from tracks the first ``longest_s`` seconds when given.

    Raises:
        AudioError: A file cannot be read.
    """
    if protocol.unit == "chunk":
        number = round(item.start_s * CHUNK_RATE / CHUNK_SAMPLES)
        return chunk_sound(dataset, item.index, number, sources, gains)
    stop = None
    if longest_s is not None:
        stop = max(1, round(longest_s * dataset.info(item.index).sample_rate))
    return track_sound(dataset, item.index, sources, gains, stop)


def _whole_track(
    dataset: Dataset, index: int, sources: Sequence[str], seed: int
) -> list[EvaluationItem]:
    info = dataset.info(index)
    duration_s = info.n_samples / info.sample_rate
    return [EvaluationItem(_file_name(info.name), index, info.name, 0.0, duration_s)]


def _track_chunks(
    dataset: Dataset, index: int, sources: Sequence[str], seed: int
) -> list[EvaluationItem]:
    """Drawn from the seed and the track's name alone: other tracks and their order say nothing."""
    info = dataset.info(index)
    rng = np.random.default_rng([seed, zlib.crc32(info.name.encode(errors="surrogateescape"))])
    order = rng.permutation(n_chunks(info.n_samples, info.sample_rate))
    found: list[int] = []
    for number in order.tolist():
        if not any(_is_silent(dataset, index, source, number) for source in sources):
            found.append(number)
        if len(found) == CHUNKS_PER_TRACK:
            break
    return [
        EvaluationItem(
            f"{_file_name(info.name)}.{number:04d}",
            index,
            info.name,
            number * CHUNK_SAMPLES / CHUNK_RATE,
            CHUNK_SAMPLES / CHUNK_RATE,
        )
        for number in sorted(found)
    ]


def _is_silent(dataset: Dataset, index: int, source: str, number: int) -> bool:
    chunk = read_chunk(dataset, index, source, number).double()
    return float(chunk.norm()) / CHUNK_SAMPLES < _SILENCE


def _name(dataset: Dataset, index: int) -> str:
    """Also of a track that cannot be read."""
    try:
        return dataset.name(index)
    except LqsepError:
        return f"track {index + 1}"


def _file_name(name: str) -> str:
    """The name where it can name a file; else what is left of it, and a mark of the whole."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:_LONGEST_NAME]
    if plain == name:
        return name
    whole = name.encode(errors="surrogateescape")  # names need not be UTF-8
    return f"{plain}-{hashlib.sha256(whole).hexdigest()[:8]}"


def _distinct(items: Iterable[EvaluationItem]) -> list[EvaluationItem]:
    """A second item of the same name becomes ``name_2``, whatever the case of its letters."""
    seen: set[str] = set()
    result = []
    for item in items:
        name, number = item.item, 1
        while name.lower() in seen:
            number += 1
            name = f"{item.item}_{number}"
        seen.add(name.lower())
        result.append(replace(item, item=name))
    return result
