"""``lqsep sums``: the table of code sums that a model's likelihood reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from lqsep.cli.options import SourceValue, current_options

SUMS_FILE = "sums.safetensors"


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
def sums(directory: Path, gains: Sequence[tuple[str, float]], device: str) -> None:
    """Build a model's table of code sums.

    For every pair of codes, the code of their sum, weighted by the sources' gains, is stored in
    MODEL_DIR/sums.safetensors; model.toml then names that file, its hash and the gains. Without
    it the likelihood codebook-sum computes the table whenever the model is loaded.
    """
    from lqsep.cli.progress import ProgressBars

    with ProgressBars(enabled=False if current_options().quiet else None) as bars:
        path = build_sums(
            directory, gains, device, lambda done, total: bars.update("sums", done, total)
        )
    click.echo(str(path))


def build_sums(
    directory: Path,
    gains: Sequence[tuple[str, float]],
    device: str,
    on_block: Callable[[int, int], None] | None = None,
) -> Path:
    """Build and store the table, and describe it in ``model.toml``.

    Args:
        directory: The model directory.
        gains: New gains by source name; the others stay.
        device: Where the table is computed.
        on_block: Progress callback ``(pairs_done, pairs_total)``.

    Returns:
        The table's file.

    Raises:
        CheckpointError: There is no model, or its codec cannot be loaded.
        ConfigError: The model has no such source, or its likelihood reads no table.
        DeviceError: The device is not available.
        IncompatibleComponentsError: There are not two sources with one codebook.
    """
    import torch

    from lqsep.cli.pipeline_options import PipelineChanges, read_pipeline
    from lqsep.core.assemble import BuildContext, build
    from lqsep.core.errors import CheckpointError, ConfigError
    from lqsep.core.model_directory import MODEL_FILE, resolve_device, update_model_toml
    from lqsep.core.registry import Registry
    from lqsep.core.spec import Kind
    from lqsep.plugins.codebook_sum.factory import shared_codebook
    from lqsep.plugins.codebook_sum.likelihood import check_two_sources
    from lqsep.plugins.codebook_sum.table import build_sum_table, save_table

    if not (directory / MODEL_FILE).is_file():
        raise CheckpointError(
            f"no {MODEL_FILE} in {directory}: expected a model directory, as `lqsep train` makes it"
        )
    registry = Registry.discover()
    changes = PipelineChanges(gains=gains)
    config = read_pipeline(directory / MODEL_FILE, changes, registry).parse(registry)
    if "table" not in type(config.likelihood).model_fields:
        raise ConfigError(
            f"{directory / MODEL_FILE}: likelihood '{config.likelihood.type}' reads no table of "
            "code sums; set likelihood.type to 'codebook-sum' first"
        )
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
    weights = (config.gains[0], config.gains[1])
    table = build_sum_table(shared_codebook(codec, context.device), weights, on_block=on_block)
    save_table(directory / SUMS_FILE, table, weights, codec.fingerprint)
    update_model_toml(
        directory,
        files=[SUMS_FILE],
        changes={
            "likelihood.table": SUMS_FILE,
            **{f"sources.{source}.gain": gain for source, gain in gains},
        },
    )
    return directory / SUMS_FILE
