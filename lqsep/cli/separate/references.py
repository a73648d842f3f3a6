"""``--reference``: recordings of the sources, to form a mixture from and to score the result by."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqsep.cli.options import did_you_mean
from lqsep.cli.separate.track_parts import TrackPart
from lqsep.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from lqsep.core.audio.mixtures import MixtureReader
    from lqsep.core.separation.run import SeparationRun, StemBlock
    from lqsep.core.separation.separator import Separator
    from lqsep.core.signal.running_scores import RunningScore

# Estimates and references, as evaluations name them too.
RESULT = "lqsep"
CODEC = "codec"
ORIGINAL = "original"
DECODED = "decoded"

# A mixture whose level is further off that of its references is worth a word.
_LEVEL_TOLERANCE = 0.05


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


class ReferenceScores(TrackPart):
    """Scores of the stems against the references times their gains.

    Each stem is compared with the recording itself and with what the codec makes of it inside the
    mixture; so is, for comparison, the mixture divided by the number of sources. The codec's round
    trip against the recording says what decoded codes could reach.

    Args:
        separator: Gives codec and gains.
        run: The separation.
        readers: References by source, of the mixture's form, before their gains.
    """

    def __init__(
        self, separator: Separator, run: SeparationRun, readers: Mapping[str, MixtureReader]
    ) -> None:
        from lqsep.core.separation.segments import CrossFader

        self._separator = separator
        self._mixture = run.reader
        self._readers = readers
        self._sources = [separator.sources.index(source) for source in readers]
        self._n_total = run.reader.n_samples
        self._rate = run.reader.sample_rate
        self._n_scored = min(self._n_total, *(reader.n_samples for reader in readers.values()))
        self._fader = CrossFader(run.plan)
        self._scores: dict[tuple[str, str, str], RunningScore] = {}
        # Of the mixture with the sum of the references times their gains, and of that sum.
        self._products = [0.0, 0.0]

    def push(self, block: StemBlock) -> None:
        decoded = self._fader.push(block.segment, self._decoded(block))
        n_samples = min(self._n_scored - block.start, block.stems.shape[-1])
        if n_samples < 1:
            return
        share = block.mixture[:, :n_samples] / len(self._separator.sources)
        share_name = f"mixture/{len(self._separator.sources)}"
        total = 0 * share
        for place, (source, index) in enumerate(zip(self._readers, self._sources, strict=True)):
            gain = self._separator.gains[index]
            original = self._read(source, block.start, block.start + n_samples) * gain
            total = total + original
            # The codec's channel, on all channels of the mixture.
            trip = decoded[place, :, :n_samples].expand_as(original).cpu()
            stem = block.stems[index, :, :n_samples]
            for estimate, wave in ((RESULT, stem), (share_name, share)):
                self._push(estimate, source, ORIGINAL, original, wave)
                self._push(estimate, source, DECODED, trip, wave)
            self._push(CODEC, source, ORIGINAL, original, trip)
        self._products[0] += float((block.mixture[:, :n_samples] * total).sum())
        self._products[1] += float(total.square().sum())

    def results(self) -> tuple[dict[str, Any], ...]:
        """One entry per estimate, source and reference; plain values, dB or None."""
        return tuple(
            {
                "estimate": estimate,
                "source": source,
                "reference": reference,
                **{name: _finite(value) for name, value in asdict(score.result()).items()},
            }
            for (estimate, source, reference), score in self._scores.items()
        )

    def warnings(self) -> list[str]:
        notes = []
        if self._n_scored < self._n_total:
            notes.append(
                f"the references end at {self._n_scored / self._rate:.2f} s of "
                f"{self._n_total / self._rate:.2f} s; what follows is not scored"
            )
        product, energy = self._products
        is_complete = len(self._sources) == len(self._separator.sources)
        if is_complete and energy and abs(product / energy - 1) > _LEVEL_TOLERANCE:
            notes.append(
                f"the mixture is {product / energy:.2f} times as loud as the sum of its references "
                "times their gains: the SDR counts this difference of level, the SI-SDR does not"
            )
        return notes

    def _decoded(self, block: StemBlock) -> Tensor:
        """The codec's round trips of one segment, times their gains; ``sources 1 samples``."""
        import torch
        from torch.nn.functional import pad

        from lqsep.core.audio.mono import read_mono
        from lqsep.core.separation.references import codec_round_trip

        segment, separator = block.segment, self._separator
        codec, scale = separator.codec, block.result.encoded.scale
        mixture = read_mono(self._mixture, segment.start, segment.stop, codec.info.sample_rate)
        mixture = mixture.expand(codec.info.channels, -1).to(separator.device)
        length, trips = segment.stop - segment.start, []
        for source, index in zip(self._readers, self._sources, strict=True):
            stop = min(segment.stop, self._readers[source].n_samples)
            if stop <= segment.start:
                trips.append(torch.zeros(1, length))
                continue
            wave = self._read(source, segment.start, stop)
            with torch.inference_mode():
                trip = codec_round_trip(codec, wave, mixture, self._rate, index, scale)
            trip = trip * separator.gains[index]
            trips.append(pad(trip, (0, length - trip.shape[-1])))
        return torch.stack(trips)

    def _read(self, source: str, start: int, stop: int) -> Tensor:
        import torch

        return torch.from_numpy(self._readers[source].read(start, stop).copy())

    def _push(
        self, estimate: str, source: str, reference: str, truth: Tensor, wave: Tensor
    ) -> None:
        from lqsep.core.signal.running_scores import RunningScore

        score = self._scores.setdefault((estimate, source, reference), RunningScore(self._rate))
        score.push(truth, wave)


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


def _finite(value: float | int) -> float | int | None:
    return value if math.isfinite(value) else None
