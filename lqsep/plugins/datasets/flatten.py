"""Write data sets as LQVAE-separation reads them: one mono file per source and track.

::

    OUT/<source>/<split>/<track>.wav

Tracks are read, resampled and written block by block. The files of a track get their names
together, when all of them are complete: what is there under its name can be kept.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lqsep.core.audio.files import AudioWriter, audio_info
from lqsep.core.audio.resampled import ResampledReader
from lqsep.core.corpus.stem_reader import StemReader
from lqsep.core.errors import AudioError, ConfigError, LqsepError
from lqsep.core.interfaces.dataset import Dataset, TrackInfo
from lqsep.core.jobs.threads import in_threads

# Input samples per block, about.
_BLOCK = 1 << 19


@dataclass(frozen=True)
class FlattenSettings:
    """How the files are written.

    Args:
        output: Folder; made if needed.
        sample_rate: Hz.
        subtype: ``PCM_16``, which saturates beyond full scale, or ``FLOAT``, which does not.
    """

    output: Path
    sample_rate: int = 22_050
    subtype: Literal["PCM_16", "FLOAT"] = "PCM_16"


@dataclass(frozen=True)
class FlattenResult:
    """What became of one track.

    Args:
        track: ``<split>/<name>``.
        n_clipped: Values beyond full scale that were saturated, by source; ``peaks`` likewise.
    """

    track: str
    status: Literal["written", "kept", "failed"]
    duration_s: float = 0.0
    n_clipped: Mapping[str, int] = field(default_factory=dict)
    peaks: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


def flatten(
    datasets: Mapping[str, Dataset],
    settings: FlattenSettings,
    *,
    jobs: int = 1,
    on_result: Callable[[FlattenResult], None] | None = None,
) -> list[FlattenResult]:
    """Write every track of every split; a track that fails does not stop the others.

    Args:
        datasets: By split; an empty name leaves that folder level out.
        settings: Where and how.
        jobs: Tracks worked on at a time, in threads.
        on_result: Called once per track, in their order.

    Returns:
        One result per track, likewise.

    Raises:
        ConfigError: The output folder cannot be made, or a source's name is no folder name.
    """
    for split, dataset in datasets.items():
        for source in dataset.sources:
            _make_folder(settings.output, source, split)
    stop = threading.Event()

    def work(track: tuple[str, Dataset, int]) -> FlattenResult:
        split, dataset, index = track
        return _flatten_track(dataset, index, split, settings, stop)

    tracks = [
        (split, dataset, index)
        for split, dataset in datasets.items()
        for index in range(len(dataset))
    ]
    results = []
    for result in in_threads(work, tracks, jobs, stop=stop):
        results.append(result)
        if on_result is not None:
            on_result(result)
    return results


class _StoppedError(Exception):
    """The command was interrupted."""


def _flatten_track(
    dataset: Dataset, index: int, split: str, settings: FlattenSettings, stop: threading.Event
) -> FlattenResult:
    name = f"track {index}"
    try:
        info = dataset.info(index)
        name = f"{split}/{info.name}" if split else info.name
        return _write_track(dataset, index, info, split, name, settings, stop)
    except (LqsepError, OSError) as error:
        return FlattenResult(name, "failed", error=str(error))


def _write_track(
    dataset: Dataset,
    index: int,
    info: TrackInfo,
    split: str,
    name: str,
    settings: FlattenSettings,
    stop: threading.Event,
) -> FlattenResult:
    n_samples = -(-info.n_samples * settings.sample_rate // info.sample_rate)
    duration_s = n_samples / settings.sample_rate
    paths = {
        source: settings.output / source / split / f"{info.name}.wav" for source in dataset.sources
    }
    missing = {s: path for s, path in paths.items() if not _is_complete(path, n_samples, settings)}
    if not missing:
        return FlattenResult(name, "kept", duration_s)
    with contextlib.ExitStack() as stack:
        writers = {}
        for source, path in missing.items():
            writer = AudioWriter(
                path, settings.sample_rate, 1, subtype=settings.subtype, n_samples=n_samples
            )
            writers[source] = writer
            stack.callback(writer.discard)  # nothing is left to discard once it is committed
        for source, writer in writers.items():
            stem = StemReader(dataset, index, source, "mean")
            for block in ResampledReader(stem, settings.sample_rate).blocks(_BLOCK):
                if stop.is_set():
                    raise _StoppedError
                writer.write(block)
        for writer in writers.values():
            writer.commit()
    return FlattenResult(
        name,
        "written",
        duration_s,
        {source: writer.n_clipped for source, writer in writers.items() if writer.n_clipped},
        {source: writer.peak for source, writer in writers.items()},
    )


def _is_complete(path: Path, n_samples: int, settings: FlattenSettings) -> bool:
    """Whether a file is there and whole; a damaged one is made again.

    Raises:
        AudioError: There is another file of this name.
    """
    if not path.exists():
        return False
    try:
        info = audio_info(path)
    except AudioError:
        return False
    got = (info.sample_rate, info.channels, info.n_samples, info.subtype)
    wanted = (settings.sample_rate, 1, n_samples, settings.subtype)
    if got != wanted:
        raise AudioError(
            f"{path} is already there, with {_form(*got)}; expected {_form(*wanted)}. Remove it or "
            "choose another folder."
        )
    return True


def _form(sample_rate: int, channels: int, n_samples: int, subtype: str) -> str:
    return f"{n_samples} samples at {sample_rate} Hz, channels: {channels}, {subtype}"


def _make_folder(output: Path, source: str, split: str) -> None:
    if source != Path(source).name or source in ("", ".."):
        raise ConfigError(f"cannot write source {source!r}: expected the name of a folder.")
    folder = output / source / split
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {folder}: {error.strerror or error}.") from error
