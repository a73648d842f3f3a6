"""``lqsep counts``: how often codes of the sources meet codes of their mixture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lqsep.cli.options import current_options

if TYPE_CHECKING:
    from lqsep.core.assemble import BuildContext
    from lqsep.core.interfaces.dataset import Dataset
    from lqsep.core.registry import Registry

COUNTS_FILE = "counts.safetensors"


@click.command()
@click.argument("directory", metavar="MODEL_DIR", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of a data set with recordings of the sources.",
)
@click.option(
    "--dataset", default="track-folders", show_default=True, help="Which kind of data set."
)
@click.option("--split", help="Part of the data set.  [all of it]")
@click.option(
    "--passes",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="How often the data set is gone through.",
)
@click.option("--seed", default=0, show_default=True, help="Of the clips that are mixed.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"File to write.  [MODEL_DIR/{COUNTS_FILE}]",
)
@click.option(
    "-d", "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
def counts(
    directory: Path,
    data: Path,
    dataset: str,
    split: str | None,
    passes: int,
    seed: int,
    output: Path | None,
    device: str,
) -> None:
    """Count which codes of a mixture go with which codes of its sources.

    Recordings of the sources are mixed with the model's gains, those of the same track and those
    of tracks drawn at random; sources and mixtures are encoded, and how often each three codes
    meet is stored in MODEL_DIR/counts.safetensors, whose hash goes into model.toml. The likelihood
    counts reads it.
    """
    from lqsep.cli.progress import ProgressBars

    recordings = Recordings(data, dataset, split, passes, seed)
    path = directory / COUNTS_FILE if output is None else output
    with ProgressBars(enabled=False if current_options().quiet else None) as bars:
        summary = make_counts(
            directory,
            recordings,
            path,
            device,
            lambda done, total: bars.update("counts", done, total),
        )
    click.echo(f"{path}: {summary}")


@dataclass(frozen=True)
class Recordings:
    """Where the recordings are, and how they are gone through.

    Args:
        folder: Of the data set.
        dataset: Its kind.
        split: Part of it.
        passes: How often.
        seed: Of the clips that are mixed.
    """

    folder: Path
    dataset: str
    split: str | None = None
    passes: int = 4
    seed: int = 0


def make_counts(
    directory: Path,
    recordings: Recordings,
    path: Path,
    device: str,
    on_progress: Callable[[float, float], None] | None = None,
) -> str:
    """Count, store the counts, and describe them in ``model.toml`` where they lie beside it.

    Args:
        directory: The model directory.
        recordings: What is mixed.
        path: File to write.
        device: Where the codec runs.
        on_progress: Progress callback ``(done_s, total_s)``.

    Returns:
        What was counted, in words.

    Raises:
        AudioError: The data set holds no audio, or it cannot be read.
        CheckpointError: There is no model, its codec cannot be loaded, or the file not written.
        ConfigError: The model or the data set is described wrongly, or a source is missing.
        DeviceError: The device is not available.
        IncompatibleComponentsError: There are not two sources with one codebook, or the codec
            gives no codes of the mixture.
    """
    import torch

    from lqsep.core.assemble import BuildContext, build
    from lqsep.core.config import load_config
    from lqsep.core.errors import CheckpointError
    from lqsep.core.model_directory import MODEL_FILE, resolve_device, update_model_toml
    from lqsep.core.registry import Registry
    from lqsep.core.spec import Kind
    from lqsep.plugins.counts.counting import count_codes
    from lqsep.plugins.counts.factory import shared_codebook_size
    from lqsep.plugins.counts.likelihood import check_two_sources
    from lqsep.plugins.counts.store import save_counts

    if not (directory / MODEL_FILE).is_file():
        raise CheckpointError(
            f"no {MODEL_FILE} in {directory}: expected a model directory, as `lqsep train` makes it"
        )
    registry = Registry.discover()
    config = load_config(directory / MODEL_FILE, registry)
    check_two_sources(len(config.sources))
    context = BuildContext(
        device=resolve_device(device),
        dtype=torch.float32,
        sources=tuple(config.sources),
        gains=config.gains,
        base_dir=directory,
        hashes=config.model.get("files"),
    )
    codec = build(registry.find(Kind.CODEC, config.codec.type), config.codec, context)
    with torch.inference_mode():
        counted = count_codes(
            open_dataset(recordings, registry, context),
            context.sources,
            codec,
            codebook_size=shared_codebook_size(codec),
            gains=(config.gains[0], config.gains[1]),
            clip_s=config.pipeline.segment,
            device=context.device,
            generator=torch.Generator().manual_seed(recordings.seed),
            passes=recordings.passes,
            on_progress=on_progress,
        )
    save_counts(path, counted.counts)
    if path.resolve().parent == directory.resolve():
        update_model_toml(directory, files=[path.name])
    words = f"{len(counted.counts.counts)} distinct triples in {counted.counts.n_frames} frames"
    if counted.coverage is not None:
        words += f"; other tracks cover {counted.coverage:.1%} of the frames of a held-out track"
    return words


def open_dataset(recordings: Recordings, registry: Registry, context: BuildContext) -> Dataset:
    """The data set with the stems of all sources.

    Raises:
        AudioError: It cannot be read.
        ConfigError: There is no such data set, or it lacks a source.
    """
    from lqsep.core.assemble import build
    from lqsep.core.config import parse_settings
    from lqsep.core.errors import ConfigError
    from lqsep.core.spec import Kind

    registered = registry.find(Kind.DATASET, recordings.dataset)
    settings: dict[str, object] = {"root": str(recordings.folder.resolve())}
    if recordings.split is not None:
        settings["split"] = recordings.split
    if "sources" in registered.spec.config.model_fields:
        settings["sources"] = list(context.sources)
    settings = {"type": registered.spec.name, **settings}
    slot = parse_settings(registered.spec.config, settings, f"data set '{recordings.dataset}'")
    dataset: Dataset = build(registered, slot, context)
    missing = [source for source in context.sources if source not in dataset.sources]
    if missing:
        raise ConfigError(
            f"{recordings.folder}: expected recordings of {', '.join(context.sources)}, found "
            f"{', '.join(dataset.sources) or 'none'}"
        )
    return dataset
