"""``lqsep data render``: compose and render a data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click


def _genres(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Read a list such as ``soul,latin``."""
    return tuple(item.strip() for item in value.split(",") if item.strip())


def _programs(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Read a list such as ``16,25``."""
    try:
        programs = tuple(int(item) for item in value.split(",") if item.strip())
    except ValueError:
        programs = (-1,)
    if any(not 0 <= program <= 127 for program in programs):
        raise click.BadParameter(f"expected numbers from 0 to 127 and commas, got {value!r}")
    return programs


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to write; complete tracks found there are kept.",
)
@click.option("--tracks", default=100, show_default=True, help="Tracks for training.")
@click.option("--validation", default=10, show_default=True, help="Tracks for validation.")
@click.option("--test", default=10, show_default=True, help="Tracks for tests.")
@click.option("--duration", default=20.0, show_default=True, help="Seconds per track.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same files.")
@click.option(
    "--soundfont",
    "soundfonts",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="SoundFont 2 file; may be given several times, for stems with one or the other."
    "  [default: the first one in the usual places]",
)
@click.option("--sample-rate", default=44100, show_default=True, help="In Hz.")
@click.option(
    "--format",
    "audio_format",
    type=click.Choice(["wav", "flac"]),
    default="wav",
    show_default=True,
    help="Of the audio files, 16 bit.",
)
@click.option("--mono/--stereo", "is_mono", default=False, show_default=True)
@click.option(
    "--midi",
    "midi_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Render the MIDI files under this folder instead of composing.",
)
@click.option("--augment/--no-augment", "is_augmented", default=True, show_default=True)
@click.option(
    "--modelled",
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of training stems with computed instruments instead of a SoundFont's.",
)
@click.option(
    "--hold-out-kits",
    default="",
    callback=_programs,
    metavar="LIST",
    help="Drum kits, such as 16,25, with their variants, for validation and test only.",
)
@click.option(
    "--hold-out-programs",
    default="",
    callback=_programs,
    metavar="LIST",
    help="Bass programs (32 to 39) for validation and test only.",
)
@click.option(
    "--hold-out-genres",
    default="",
    callback=_genres,
    metavar="LIST",
    help="Genres, such as soul,latin, whose patterns are for validation and test only.",
)
@click.option("-j", "--jobs", default=1, show_default=True, help="Tracks rendered at a time.")
def render(
    output: Path,
    tracks: int,
    validation: int,
    test: int,
    duration: float,
    seed: int,
    soundfonts: tuple[Path, ...],
    sample_rate: int,
    audio_format: str,
    is_mono: bool,
    midi_dir: Path | None,
    is_augmented: bool,
    modelled: float,
    hold_out_kits: tuple[int, ...],
    hold_out_programs: tuple[int, ...],
    hold_out_genres: tuple[str, ...],
    jobs: int,
) -> None:
    """Compose drum and bass parts and render them with FluidSynth.

    Writes OUTPUT/<train|validation|test>/<track>/{drums,bass}.wav. The same command with more
    tracks adds to the data set; after an interruption it continues.
    """
    from lqsep.cli.console.printable import print_line
    from lqsep.cli.console.progress import ProgressBars
    from lqsep.cli.options import current_options
    from lqsep.core.errors import LqsepError

    try:
        from lqsep.plugins.rendering.instruments import HeldOut
        from lqsep.plugins.rendering.render import render_dataset
    except ModuleNotFoundError as error:
        if error.name != "mido":
            raise
        raise LqsepError(
            "data render: the package 'mido' is missing. Run: pip install 'lqsep[train]'"
        ) from error

    with ProgressBars(enabled=False if current_options().quiet else None) as bars:
        summary = render_dataset(
            output,
            n_tracks={"train": tracks, "validation": validation, "test": test},
            duration_s=duration,
            seed=seed,
            soundfonts=soundfonts,
            sample_rate=sample_rate,
            audio_format=audio_format,
            n_channels=1 if is_mono else 2,
            is_augmented=is_augmented,
            modelled=modelled,
            held_out=HeldOut(hold_out_kits, hold_out_programs, hold_out_genres),
            midi_dir=midi_dir,
            jobs=jobs,
            on_track=partial(bars.update, "tracks"),
        )
    print_line(
        f"{output}: {summary.n_rendered + summary.n_kept} tracks, {summary.n_seconds:g} s of audio "
        f"({summary.n_rendered} rendered, {summary.n_kept} kept)"
    )
