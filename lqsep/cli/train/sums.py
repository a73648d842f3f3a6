"""``lqsep sums``: what a model's likelihood knows of sums of two codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from lqsep.cli.console.printable import print_line
from lqsep.cli.data.choice import DatasetChoice
from lqsep.cli.options import Seconds, SourceValue, current_options, seed_option
from lqsep.cli.train.likelihoods import CodecModel, OnProgress, describe, train_likelihood

# Where likelihoods look for their files beside model.toml.
SUMS_FILE = "sums.safetensors"
CALIBRATION_FILE = "calibration.safetensors"

VALIDATION_SPLIT = "validation"


@click.command()
@click.argument("directory", metavar="MODEL_DIR", type=click.Path(path_type=Path))
@click.option(
    "--gain",
    "gains",
    type=SourceValue(number=True),
    multiple=True,
    metavar="SOURCE=F",
    help="Change a source's gain in the model; may be repeated.  [the model's own]",
)
@click.option(
    "-d", "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
@click.option(
    "--calibrate",
    "is_calibration",
    is_flag=True,
    help="Measure the noise of sums on recordings instead, for the likelihood gaussian-sum.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Calibration: folder of a data set with recordings of the sources.",
)
@click.option(
    "--dataset",
    default="track-folders",
    show_default=True,
    metavar="NAME",
    help="Calibration: which kind of data set.",
)
@click.option(
    "--split",
    metavar="NAME",
    help="Calibration: part of the data set.  [validation, if there is such a folder]",
)
@click.option(
    "--covariance",
    type=click.Choice(["full", "diagonal"]),
    default="diagonal",
    show_default=True,
    help="Calibration: variances alone, or of all pairs of dimensions as well.",
)
@click.option(
    "--clips",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Calibration: mixtures to measure on.",
)
@click.option(
    "--clip-duration",
    type=Seconds(positive=True),
    default=4.0,
    show_default=True,
    metavar="S",
    help="Calibration: length of each.",
)
@seed_option("Calibration: of the clips.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Calibration: file to write.  [MODEL_DIR/calibration.safetensors]",
)
def sums(
    directory: Path,
    gains: Sequence[tuple[str, float]],
    device: str,
    is_calibration: bool,
    data: Path | None,
    dataset: str,
    split: str | None,
    covariance: Literal["full", "diagonal"],
    clips: int,
    clip_duration: float,
    seed: int,
    output: Path | None,
) -> None:
    """Build a model's table of code sums, or measure their noise.

    For every pair of codes, the code of their sum, weighted by the sources' gains, is stored in
    MODEL_DIR/sums.safetensors; model.toml then names that file, its hash and the gains. Without
    it the likelihoods codebook-sum and delta compute the table whenever the model is loaded.

    With --calibrate, clips of the sources' recordings are mixed at the model's gains, and how far
    the mixture's latents lie from the sums of the sources' code vectors is stored in
    MODEL_DIR/calibration.safetensors, which the likelihood gaussian-sum reads. The model's
    likelihood is not changed.
    """
    from lqsep.cli.console.progress import ProgressBars

    _check_flags(is_calibration)
    with ProgressBars(enabled=False if current_options().quiet else None) as bars:

        def show(done: float, total: float) -> None:
            bars.update("sums", done, total)

        if not is_calibration:
            message = str(build_sums(directory, gains, device, show))
        else:
            assert data is not None
            message = calibrate(
                directory,
                gains,
                device,
                _recordings(dataset, data, split),
                {
                    "covariance": covariance,
                    "clips": clips,
                    "clip_s": clip_duration,
                    "max_unreadable": 0.0,
                },
                seed=seed,
                output=output,
                on_clip=show,
            )
    print_line(message)


def _check_flags(is_calibration: bool) -> None:
    """Refuse a calibration without recordings, and its options without a calibration."""
    context = click.get_current_context()
    if is_calibration and context.params["data"] is None:
        raise click.UsageError("--calibrate needs --data, a folder with recordings of the sources")
    if not is_calibration:
        own = {"directory", "gains", "device", "is_calibration"}
        for option in context.command.params:
            source = context.get_parameter_source(str(option.name))
            if option.name not in own and source is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{option.opts[-1]} needs --calibrate")


def build_sums(
    directory: Path,
    gains: Sequence[tuple[str, float]],
    device: str,
    on_pairs: OnProgress | None = None,
) -> Path:
    """Build and store the table, and describe it in ``model.toml``.

    Args:
        directory: The model directory.
        gains: New gains by source name; the others stay.
        device: Where the table is computed.
        on_pairs: Progress callback ``(pairs_done, pairs_total)``.

    Returns:
        The table's file.

    Raises:
        CheckpointError: There is no model, or its codec cannot be loaded.
        ConfigError: The model has no such source, its likelihood reads no table, or the file
            cannot be written.
        DeviceError: The device is not available.
        IncompatibleComponentsError: There are not two sources with one codebook.
    """
    from lqsep.core.errors import ConfigError
    from lqsep.core.store.model_directory import MODEL_FILE

    model = CodecModel.open(directory, device, gains)
    likelihood = model.config.likelihood
    if "table" not in type(likelihood).model_fields:
        raise ConfigError(
            f"{directory / MODEL_FILE}: likelihood '{likelihood.type}' reads no table of "
            "code sums; set likelihood.type to 'codebook-sum' first"
        )
    config = likelihood.model_copy(update={"table": SUMS_FILE})
    train_likelihood(model, config, {}, output_dir=directory, on_progress=on_pairs)
    describe(model, directory / SUMS_FILE, {"likelihood.table": SUMS_FILE, **_gain_changes(gains)})
    return directory / SUMS_FILE


def calibrate(
    directory: Path,
    gains: Sequence[tuple[str, float]],
    device: str,
    recordings: DatasetChoice,
    settings: Mapping[str, Any],
    *,
    seed: int,
    output: Path | None = None,
    on_clip: OnProgress | None = None,
) -> str:
    """Measure the noise at the model's gains and store it.

    A file in the model directory is described in its ``model.toml``. The model's likelihood stays
    what it is.

    Args:
        directory: The model directory.
        gains: New gains by source name; the others stay.
        device: Where the codec runs.
        recordings: What is mixed.
        settings: How it is measured.
        seed: Of the clips.
        output: File to write; None writes into the model directory.
        on_clip: Progress callback ``(clips_done, clips_total)``.

    Returns:
        The file and what was measured, in words.

    Raises:
        AudioError: The recordings cannot be read.
        CheckpointError: There is no model, its codec cannot be loaded, or the file not written.
        ConfigError: The model or the data set lacks a source, there is no such data set, or the
            file cannot be written.
        DeviceError: The device is not available.
        IncompatibleComponentsError: There are not two sources.
    """
    from lqsep.core.files.new_file import check_target

    model = CodecModel.open(directory, device, gains)
    path = output or directory / CALIBRATION_FILE
    check_target(path)
    trained = train_likelihood(
        model,
        model.likelihood("gaussian-sum", {"calibration": path.name}),
        settings,
        output_dir=path.parent,
        recordings=recordings,
        seed=seed,
        on_progress=on_clip,
    )
    changes = _gain_changes(gains)
    if "calibration" in type(model.config.likelihood).model_fields:
        changes["likelihood.calibration"] = path.name
    describe(model, path, changes)
    return f"{path}: {trained.summary}"


def _recordings(dataset: str, folder: Path, split: str | None) -> DatasetChoice:
    """The data set; its part for validation where no other is named and there is one."""
    if split is None and (folder / VALIDATION_SPLIT).is_dir():
        split = VALIDATION_SPLIT
    return DatasetChoice(dataset, folder, split)


def _gain_changes(gains: Sequence[tuple[str, float]]) -> dict[str, object]:
    return {f"sources.{source}.gain": gain for source, gain in gains}
