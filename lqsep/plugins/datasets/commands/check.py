"""``lqsep data check``: what a data set holds, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lqsep.cli.console.interrupts import check_interrupts
from lqsep.cli.console.printable import one_line, print_line
from lqsep.cli.console.progress import ProgressBars
from lqsep.cli.console.tables import print_table
from lqsep.cli.options import current_options, jobs_option, split_names

if TYPE_CHECKING:
    from lqsep.core.corpus.checks import DataReport


@click.command()
@click.argument("root", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--dataset",
    "layout",
    type=click.Choice(["track-folders", "stem-folders", "slakh"]),
    help="How the files are laid out.  [guessed from their names]",
)
@click.option(
    "--sources",
    default="",
    help="Names, with commas, that every track should have.  [all that occur; slakh: drums,bass]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@jobs_option("Files read at a time.")
@click.pass_context
def check(
    context: click.Context,
    root: Path,
    layout: str | None,
    sources: str,
    as_json: bool,
    jobs: int,
) -> None:
    """Count and examine the files of a data set.

    DIR is the data set's folder, with all its splits. Every file is decoded once. Prints a table of
    sources and splits, then one line per problem: errors hinder or falsify training and evaluation,
    warnings may be meant. Exits with 1 when there are errors.
    """
    from lqsep.core.corpus.checks import check_data
    from lqsep.plugins.datasets.scan import scan

    quiet = current_options().quiet
    with ProgressBars(enabled=False if quiet else None) as bars:

        def show(done: int, total: int) -> None:
            check_interrupts()
            bars.update("files", done, total)

        listing = scan(root, layout, split_names(sources))
        report = check_data(listing, jobs=jobs, on_file=show)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print_report(report, is_guess=layout is None)
    if report.n_errors:
        context.exit(1)


def _print_report(report: DataReport, *, is_guess: bool) -> None:
    listing = report.listing
    print_line(f"{listing.root}: {listing.layout}{' (guessed)' if is_guess else ''}")
    rows = [
        (
            group.split,
            group.source,
            group.n_files,
            f"{group.hours:.2f}",
            _listed(group.sample_rates),
            _listed(group.channels),
            group.n_silent,
            group.n_clipped,
            group.n_unreadable,
        )
        for group in report.groups
    ]
    headers = ("split", "source", "files", "hours", "Hz", "channels", "silent", "clipped")
    print_table((*headers, "unreadable"), rows)
    for problem in report.problems:
        print_line(one_line(str(problem), [problem.where]))
    n_warnings = len(report.problems) - report.n_errors
    click.echo(
        f"{report.n_tracks} tracks, {len(listing.files)} files, {report.n_errors} errors, "
        f"{n_warnings} warnings"
    )


def _listed(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values)
