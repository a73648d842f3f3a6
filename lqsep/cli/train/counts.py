"""``lqsep counts``: how often codes of the sources meet codes of their mixture."""

from __future__ import annotations

from pathlib import Path

import click

from lqsep.cli.console.printable import print_line
from lqsep.cli.data.choice import DatasetChoice
from lqsep.cli.options import current_options, seed_option
from lqsep.cli.train.likelihoods import CodecModel, OnProgress, describe, train_likelihood

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
@seed_option("Of the clips that are mixed.")
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
    from lqsep.cli.console.progress import ProgressBars

    recordings = DatasetChoice(dataset, data, split)
    path = directory / COUNTS_FILE if output is None else output
    with ProgressBars(enabled=False if current_options().quiet else None) as bars:
        summary = make_counts(
            directory,
            recordings,
            path,
            device,
            passes=passes,
            seed=seed,
            on_progress=lambda done, total: bars.update("counts", done, total),
        )
    print_line(f"{path}: {summary}")


def make_counts(
    directory: Path,
    recordings: DatasetChoice,
    path: Path,
    device: str,
    *,
    passes: int,
    seed: int,
    on_progress: OnProgress | None = None,
) -> str:
    """Count, store the counts, and describe them in ``model.toml`` where they lie beside it.

    Args:
        directory: The model directory.
        recordings: What is mixed.
        path: File to write.
        device: Where the codec runs.
        passes: How often the recordings are gone through.
        seed: Of the clips that are mixed.
        on_progress: Progress callback ``(done_s, total_s)``.

    Returns:
        What was counted, in words.

    Raises:
        AudioError: The data set holds no audio, or it cannot be read.
        CheckpointError: There is no model, its codec cannot be loaded, or the file not written.
        ConfigError: The model or the data set is described wrongly, a source is missing, or
            ``path`` cannot be written.
        DeviceError: The device is not available.
        IncompatibleComponentsError: There are not two sources with one codebook, or the codec
            gives no codes of the mixture.
    """
    from lqsep.core.files.new_file import check_target

    model = CodecModel.open(directory, device)
    check_target(path)
    trained = train_likelihood(
        model,
        model.likelihood("counts", {"counts": path.name}),
        {"passes": passes, "max_unreadable": 0.0},
        output_dir=path.parent,
        recordings=recordings,
        seed=seed,
        on_progress=on_progress,
    )
    describe(model, path, {})
    return trained.summary
