"""``lqsep models import jukebox`` and ``lqsep models export jukebox``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from lqsep.cli.console.printable import print_line
from lqsep.cli.options import SourceValue, current_options
from lqsep.core.errors import ConfigError, did_you_mean

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("jukebox")
@click.option("--codec", type=_FILE, required=True, help="Checkpoint of the LQ-VAE.")
@click.option(
    "--prior",
    "priors",
    type=SourceValue(),
    multiple=True,
    required=True,
    metavar="SOURCE=FILE",
    help="Checkpoint of a source's prior; once per source, in their order.",
)
@click.option(
    "--sums",
    type=_FILE,
    help="Table of code sums (.pt).  [none: made when needed, or by `lqsep sums`]",
)
@click.option(
    "--gain",
    "gains",
    type=SourceValue(number=True),
    multiple=True,
    metavar="SOURCE=F",
    help="A source's gain in the mixture; may be repeated.  [0.5]",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(min=1),
    metavar="HZ",
    help="Of the LQ-VAE, where its checkpoint does not say it.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Model directory to make; must not hold files yet.",
)
@click.option(
    "-d",
    "--device",
    default="auto",
    show_default=True,
    help="Where the table is checked: auto, cpu, cuda or cuda:N.",
)
def import_jukebox(
    codec: Path,
    priors: Sequence[tuple[str, str]],
    sums: Path | None,
    gains: Sequence[tuple[str, float]],
    sample_rate: int | None,
    output: Path,
    device: str,
) -> None:
    """Make a model of checkpoints of LQVAE-separation.

    Reads .pth.tar checkpoints in Jukebox's layout without running anything in them. All sizes come
    from the checkpoints. Each prior must carry the codec's own codebooks, and a table of sums must
    fit the codebook and the gains: its rows are codes of the first source.
    """
    from lqsep.cli.console.progress import ProgressBars
    from lqsep.plugins.jukebox.importing import JukeboxFiles, import_model

    files = JukeboxFiles(
        codec=codec,
        priors=[(source, Path(file)) for source, file in priors],
        sums=sums,
        gains=_known_gains(gains, [source for source, _ in priors]),
        sample_rate=sample_rate,
    )
    with ProgressBars(enabled=False if current_options().quiet else None) as bars:
        import_model(
            files, output, device, lambda done, total: bars.update("checking sums", done, total)
        )
    print_line(output)


def _known_gains(gains: Sequence[tuple[str, float]], sources: Sequence[str]) -> dict[str, float]:
    """The gains by source, if there are such sources."""
    for source, _ in gains:
        if source not in sources:
            raise ConfigError(
                f"--gain: no source named '{source}'{did_you_mean(source, sources)}; "
                f"the priors are of: {', '.join(sources)}"
            )
    return dict(gains)


@click.command("jukebox")
@click.argument("name", metavar="MODEL_DIR")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to make; must not hold files yet.",
)
def export_jukebox(name: str, output: Path) -> None:
    """Write a model as checkpoints that LQVAE-separation loads.

    MODEL_DIR is a model directory, a shipped model's name or a .toml file. Writes codec.pth.tar,
    prior.SOURCE.pth.tar for each source, and codebook_sums.pt where the model has a table of sums.
    """
    from lqsep.plugins.jukebox.exporting import export_model

    for path in export_model(name, output):
        print_line(path)
