"""``--reference``: recordings of the sources, to form a mixture from and to score the result by."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqsep.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from lqsep.core.audio.mixtures import MixtureReader


@dataclass(frozen=True)
class Reference:
    """The recording of a source, before its gain in the mixture."""

    source: str
    path: Path
    gain: float


def check_references(
    pairs: Sequence[tuple[str, str]], gains: Mapping[str, float], *, forms_mixture: bool
) -> tuple[Reference, ...]:
    """The references in the order of the sources.

    Args:
        pairs: Source and file, as given.
        gains: Of all sources of the pipeline.
        forms_mixture: Whether the mixture is to be made of them, so that none may be missing.

    Raises:
        ConfigError: A source is unknown, given twice or missing.
    """
    sources = ", ".join(gains)
    found: dict[str, Path] = {}
    for source, path in pairs:
        if source not in gains:
            hint = did_you_mean(source, list(gains)) or ";"
            raise ConfigError(f"--reference: no source named '{source}'{hint} sources: {sources}")
        if source in found:
            raise ConfigError(
                f"--reference: two files for the source '{source}', {found[source]} and {path}; "
                "give one"
            )
        found[source] = Path(path)
    missing = [source for source in gains if source not in found]
    if forms_mixture and missing:
        raise ConfigError(
            "without INPUT the mixture is formed from the references, of which there must be one "
            f"for each of the sources {sources}; missing: {', '.join(missing)}"
        )
    return tuple(
        Reference(source, found[source], gain) for source, gain in gains.items() if source in found
    )


def mixture_name(references: Sequence[Reference]) -> str:
    """A name for the mixture: what the files' names have in common, or their folder's.

    ``a/song.wav`` and ``b/song.wav`` give ``song``, likewise ``song-drums.wav`` and
    ``song-bass.wav``; ``song/drums.wav`` and ``song/bass.wav`` (named after their sources) give
    the folder's name; anything else ``mixture``.
    """
    stems = [reference.path.stem for reference in references]
    if len(set(stems)) == 1:
        name = stems[0]
    elif all(reference.path.stem == reference.source for reference in references):
        folders = {reference.path.resolve().parent for reference in references}
        name = folders.pop().name if len(folders) == 1 else ""
    else:
        # Up to the last separator, so that "drum" and "dry" have nothing in common.
        found = re.match(r"(.*[^\s_.-])[\s_.-]", os.path.commonprefix(stems))
        name = found[1] if found else ""
    return name if name.strip(". ") else "mixture"


@dataclass(frozen=True)
class OpenReferences:
    """What is read of a track: the mixture, and the references of its form, before their gains."""

    mixture: MixtureReader
    references: Mapping[str, MixtureReader]


@contextmanager
def opened(
    path: Path | None,
    name: str,
    references: Sequence[Reference],
    start_s: float,
    duration_s: float | None,
) -> Iterator[OpenReferences]:
    """Open a mixture and its references, or form the mixture of them, from ``start_s`` on.

    A formed mixture has the highest rate and the most channels among the references.

    Args:
        path: The mixture; None to form it.
        name: Of a formed mixture.
        references: Of its sources.
        start_s: Where to begin, in seconds, in all files.
        duration_s: Seconds to take; None = to the end.

    Raises:
        AudioError: A file cannot be read, has channels that do not fit, or has no samples there.
    """
    from lqsep.core.audio.mixtures import FileReader
    from lqsep.core.separation.references import SumReader, conform

    with ExitStack() as files:
        recordings = []
        for reference in references:
            recordings.append(files.enter_context(FileReader(reference.path)))
            recordings[-1].name = f"the reference of {reference.source}"
        given = recordings
        if path is not None:
            given = [files.enter_context(FileReader(path))]
        rate = max(reader.sample_rate for reader in given)
        channels = max(reader.channels for reader in given)
        # The given mixture comes first: whether it has samples there matters more.
        mixture = _part(given[0], start_s, duration_s) if path is not None else None
        parts = {
            reference.source: _part(conform(reader, rate, channels), start_s, duration_s)
            for reference, reader in zip(references, recordings, strict=True)
        }
        if mixture is None:
            gains = [reference.gain for reference in references]
            mixture = SumReader(list(parts.values()), gains, name)
        yield OpenReferences(mixture, parts)


def _part(reader: MixtureReader, start_s: float, duration_s: float | None) -> MixtureReader:
    from lqsep.core.audio.mixtures import SliceReader

    if start_s == 0 and duration_s is None:
        return reader
    return SliceReader(reader, start_s, duration_s)


def score_table(scores: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows to print: in dB, estimates of a source below each other."""
    headers = ["source", "estimate", "reference", "SDR", "SI-SDR", "SDR whole", "SI-SDR whole"]
    figures = ("sdr_median", "si_sdr_median", "sdr", "si_sdr")
    rows = [
        [score["source"], score["estimate"], score["reference"]]
        + ["-" if score[name] is None else f"{score[name]:.2f}" for name in figures]
        for source in dict.fromkeys(score["source"] for score in scores)
        for score in scores
        if score["source"] == source
    ]
    return headers, rows
