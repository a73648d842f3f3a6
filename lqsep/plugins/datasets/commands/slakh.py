"""``lqsep data slakh``: Slakh2100 as one mono file per source and track."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lqsep.cli.console.interrupts import check_interrupts
from lqsep.cli.console.printable import print_line
from lqsep.cli.console.progress import ProgressBars
from lqsep.cli.options import SourceValue, current_options, jobs_option, split_names
from lqsep.core.errors import ConfigError

if TYPE_CHECKING:
    from lqsep.plugins.datasets.flatten import FlattenResult
    from lqsep.plugins.datasets.slakh import SlakhTracks

logger = logging.getLogger(__name__)

# Of the redux version, "omitted" holds tracks that occur in the others.
_USUAL_SPLITS = ("train", "validation", "test")


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to write; complete files found there are kept.",
)
@click.option("--sources", default="drums,bass", show_default=True, help="Names, with commas.")
@click.option(
    "--class",
    "classes",
    type=SourceValue(),
    multiple=True,
    metavar="SOURCE=CLASS",
    help="Instrument class of a source; may be repeated.  [the source's own name]",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    help="May be repeated.  [train, validation and test, where they are]",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(1000, 192_000),
    default=22_050,
    show_default=True,
    help="In Hz.",
)
@click.option("--float32", is_flag=True, help="32 bit float files instead of 16 bit.")
@jobs_option("Tracks worked on at a time.")
@click.pass_context
def slakh(
    context: click.Context,
    root: Path,
    output: Path,
    sources: str,
    classes: Sequence[tuple[str, str]],
    splits: Sequence[str],
    sample_rate: int,
    float32: bool,
    jobs: int,
) -> None:
    """Write Slakh2100 as one mono file per source and track.

    ROOT holds <split>/TrackXXXXX/{metadata.yaml,stems/SXX.flac}. The stems of each source are
    summed, mixed to mono, resampled and written to OUTPUT/<source>/<split>/TrackXXXXX.wav. Tracks
    that lack a source are left out; after an interruption the same command continues.
    """
    from lqsep.plugins.datasets.flatten import FlattenSettings, flatten
    from lqsep.plugins.datasets.folders import FolderDataset

    found = _find(root, splits, split_names(sources), classes)
    datasets = {split: FolderDataset(part.tracks) for split, part in found.items() if part.tracks}
    n_tracks = sum(len(dataset) for dataset in datasets.values())
    settings = FlattenSettings(output, sample_rate, "FLOAT" if float32 else "PCM_16")
    n_done = 0
    quiet = current_options().quiet
    with ProgressBars(enabled=False if quiet else None) as bars:

        def show(result: FlattenResult) -> None:
            nonlocal n_done
            check_interrupts()
            n_done += 1
            bars.update("tracks", n_done, n_tracks)
            with bars.paused():
                _tell(result)

        results = flatten(datasets, settings, jobs=jobs, on_result=show)
    n_left_out = sum(len(part.incomplete) for part in found.values())
    print_line(_summary(output, results, n_left_out))
    if any(result.status == "failed" for result in results):
        context.exit(1)


def _find(
    root: Path,
    splits: Sequence[str],
    sources: Sequence[str],
    classes: Sequence[tuple[str, str]],
) -> dict[str, SlakhTracks]:
    """The tracks of every split; the empty name stands for a data set without splits.

    Raises:
        ConfigError: The folder, a split or a source is not there, or there is nothing to write.
    """
    from lqsep.plugins.datasets.slakh import absent_classes, find_slakh_tracks, report, slakh_splits

    if not sources:
        raise ConfigError("--sources names no source; expected names such as drums,bass")
    classes_of: dict[str, list[str]] = {}
    for source, name in classes:
        classes_of.setdefault(source, []).append(name)
    if not splits:
        there = slakh_splits(root)
        splits = [split for split in _USUAL_SPLITS if split in there]
        if there and not splits:
            raise ConfigError(
                f"{root} has none of {', '.join(_USUAL_SPLITS)}; choose with --split: "
                f"{', '.join(there)}"
            )
    found = {
        split: find_slakh_tracks(root, split or None, sources, classes_of)
        for split in splits or [""]
    }
    for part in found.values():
        report(part)
    absent = absent_classes(found.values())
    if not any(part.tracks for part in found.values()):
        why = absent or "choose other --sources"
        raise ConfigError(f"{root}: no track has {' and '.join(sources)}; {why}")
    if absent:
        logger.warning("%s: %s", root, absent)
    return found


def _tell(result: FlattenResult) -> None:
    if result.status == "failed":
        logger.error("%s: %s", result.track, result.error)
    for source, n_clipped in result.n_clipped.items():
        logger.warning(
            "%s: %s has %d values beyond full scale (peak %.3f), which were clipped; "
            "use --float32 to keep them",
            result.track,
            source,
            n_clipped,
            result.peaks[source],
        )


def _summary(output: Path, results: Sequence[FlattenResult], n_left_out: int) -> str:
    count = {
        status: sum(result.status == status for result in results)
        for status in ("written", "kept", "failed")
    }
    n_clipped = sum(bool(result.n_clipped) for result in results)
    hours = sum(result.duration_s for result in results) / 3600
    parts = [f"{count['written']} written", f"{count['kept']} kept"]
    parts += [f"{n_clipped} clipped"] if n_clipped else []
    parts += [f"{n_left_out} left out"] if n_left_out else []
    parts += [f"{count['failed']} failed"] if count["failed"] else []
    n_tracks = count["written"] + count["kept"]
    return f"{output}: {n_tracks} tracks, {hours:.2f} h of each source ({', '.join(parts)})"
