"""Write data sets as LQVAE-separation reads them: one mono file per source and track.

::

    OUT/<source>/<split>/<track>.wav

Tracks are read, resampled and written block by block. The files of a track get their names
together, when all of them are complete: what is there under its name can be kept.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from lqsep.core.audio.files import AudioWriter, audio_info
from lqsep.core.audio.resampling import resample
from lqsep.core.errors import AudioError, ConfigError, LqsepError
from lqsep.core.interfaces.dataset import Dataset, TrackInfo
from lqsep.core.jobs.threads import in_threads

# Input samples per block, about.
_BLOCK = 1 << 19

# Input samples read beyond a block's ends, at the lower of the two rates: more than the
# resampler's filter reaches (68).
_MARGIN = 128


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


def resampled_blocks(
    read: Callable[[int, int], npt.NDArray[np.float32]],
    n_samples: int,
    from_rate: int,
    to_rate: int,
    block: int = _BLOCK,
) -> Iterator[npt.NDArray[np.float32]]:
    """A wave at another rate, block by block: the same samples as `resample` of the whole.

    Args:
        read: Gives samples ``start`` to ``stop``, ``channels samples``.
        n_samples: Length of the wave.
        from_rate: Hz, like ``to_rate``.
        block: Input samples per block, rounded to whole periods of the two rates.
    """
    divisor = math.gcd(from_rate, to_rate)
    old, new = from_rate // divisor, to_rate // divisor
    block = max(1, block // old) * old  # a block begins where samples of both rates meet
    margin = -(-_MARGIN * max(1, -(-old // new)) // old) * old
    for start in range(0, n_samples, block):
        stop = min(start + block, n_samples)
        first = max(0, start - margin)
        wave = torch.from_numpy(read(first, min(stop + margin, n_samples)))
        lead = (start - first) // old * new
        length = -(-stop * new // old) - start // old * new
        yield resample(wave, from_rate, to_rate)[..., lead : lead + length].numpy()


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
            writer = AudioWriter(path, settings.sample_rate, 1, subtype=settings.subtype)
            writers[source] = writer
            stack.callback(writer.discard)  # nothing is left to discard once it is committed
        for source, writer in writers.items():
            for block in _mono_blocks(dataset, index, source, info, settings.sample_rate):
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


def _mono_blocks(
    dataset: Dataset, index: int, source: str, info: TrackInfo, sample_rate: int
) -> Iterator[npt.NDArray[np.float32]]:
    def read(start: int, stop: int) -> npt.NDArray[np.float32]:
        wave = dataset.stem(index, source, start, stop).stems[source]
        mono: npt.NDArray[np.float32] = wave.mean(0, keepdims=True)
        return mono

    return resampled_blocks(read, info.n_samples, info.sample_rate, sample_rate)


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
