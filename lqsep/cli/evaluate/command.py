"""``lqsep evaluate``: scores of a model on a data set, under a named protocol."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lqsep.cli.console.interrupts import check_interrupts
from lqsep.cli.console.progress import ProgressBars
from lqsep.cli.data.choice import DatasetChoice
from lqsep.cli.evaluate.run import (
    ItemResult,
    ItemSetup,
    ItemTask,
    is_done,
)
from lqsep.cli.evaluate.settings import (
    SCHEMA_VERSION,
    SETTINGS_FILE,
    check_same,
    delete_results,
    known_baselines,
    pipeline_settings,
    read_settings,
    with_baselines,
)
from lqsep.cli.evaluate.summary import all_failed, read_table, to_json, write_summary
from lqsep.cli.jobs.run import run_tasks
from lqsep.cli.options import current_options, jobs_option, seed_option
from lqsep.cli.pipeline.flags import (
    check_model_flags,
    model_flags,
    pipeline_changes,
    pipeline_flags,
    read_chosen_pipeline,
    use_one_thread,
)
from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import ConfigError
from lqsep.core.evaluation.protocols import PROTOCOLS, find_protocol
from lqsep.core.files.new_file import check_writable, write_text

if TYPE_CHECKING:
    from lqsep.core.evaluation.items import EvaluationItem
    from lqsep.core.evaluation.protocols import Protocol
    from lqsep.core.interfaces.dataset import Dataset

# Settings that begin so are the data set's, the others the pipeline's.
_DATASET = "dataset."

logger = logging.getLogger(__name__)


@click.command()
@click.argument("directory", metavar="DATASET_DIR", type=click.Path(path_type=Path))
@click.option(
    "--protocol",
    type=click.Choice(list(PROTOCOLS)),
    required=True,
    help="How it is scored; results of different protocols cannot be compared.",
)
@click.option(
    "--dataset", default="track-folders", show_default=True, help="Kind of data set, by name."
)
@click.option("--split", help="Part of the data set, such as test.")
@model_flags
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the results; a run that was interrupted goes on there.",
)
@click.option(
    "--baselines/--no-baselines",
    default=True,
    show_default=True,
    help="Score what needs no model, and what knows the true stems, too.",
)
@click.option(
    "--tracks",
    "--limit",
    "n_tracks",
    type=click.IntRange(min=1),
    help="The first N tracks only.",
)
@click.option(
    "--examples",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Items to see and hear in the report.",
)
@pipeline_flags
@seed_option("Of the chunks that are drawn and of the sampler.")
@jobs_option("Items worked on at a time, each in a process with a model of its own.")
@click.option("--force", is_flag=True, help="Delete results that are in the folder, start over.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document.")
@click.pass_context
def evaluate(context: click.Context, /, **options: Any) -> None:
    """Score a model on tracks with true stems.

    DATASET_DIR holds TRACK/SOURCE.wav, below --split if one is given; other layouts by --dataset.
    Writes summary.csv, summary.md, report.html (opens offline) and one file per item below items/
    into the folder of the results. What is there already is not computed again.
    """
    if _evaluate(**options):
        context.exit(1)


def _evaluate(
    directory: Path,
    protocol: str,
    dataset: str,
    split: str | None,
    name: str | None,
    config: str | None,
    out: Path,
    baselines: bool,
    n_tracks: int | None,
    examples: int,
    device: str,
    seed: int,
    jobs: int,
    force: bool,
    as_json: bool,
    settings: Sequence[str],
    **pipeline_options: Any,
) -> Mapping[str, str]:
    """Check everything, then score; gives what failed and why."""
    check_model_flags(name, config)
    _check_report(examples)
    use_one_thread()

    from lqsep.core.components.registry import Registry
    from lqsep.core.evaluation.baselines_of import fit_baselines

    registry = Registry.discover()
    changes = pipeline_changes(
        settings=[text for text in settings if not text.startswith(_DATASET)], **pipeline_options
    )
    pipeline = read_chosen_pipeline(name, config, changes, registry)
    parsed = pipeline.parse(registry)
    sources = tuple(parsed.sources)
    check_two_sources(sources, pipeline.path)
    own = tuple(text.removeprefix(_DATASET) for text in settings if text.startswith(_DATASET))
    choice = DatasetChoice(dataset, directory, split, own)
    tracks = choice.open(sources, registry)
    wanted = {
        "schema_version": SCHEMA_VERSION,
        "protocol": protocol,
        "model": pipeline.name,
        "seed": seed,
        "sources": list(sources),
        "dataset": choice.to_dict(),
        "baselines": baselines,
        **pipeline_settings(parsed, device, registry),
    }
    check_writable(out)
    found = read_settings(out)
    if found is not None and force:
        delete_results(out)
        found = None
    if found is not None:
        check_same(found, wanted, out)

    rules = find_protocol(protocol)
    items, failures = _plan(tracks, rules, sources, seed, n_tracks)
    fitted = known_baselines(found)
    if baselines and fitted is None:
        logger.info("fitting the baselines")
        fitted = fit_baselines(tracks, rules, sources=sources, gains=parsed.gains, seed=seed)
    wanted = with_baselines(wanted, fitted)
    if found is None:
        write_text(out / SETTINGS_FILE, json.dumps(wanted, indent=2) + "\n")
    tasks = [ItemTask(item, index < examples) for index, item in enumerate(items)]
    setup = ItemSetup(pipeline, device, current_options(), choice, rules, seed, fitted, out)
    n_items = len(tasks) + len(failures)
    failures |= _run([t for t in tasks if not is_done(out, t, sources)], jobs, setup)
    summary = write_summary(tasks, wanted, out, failures)
    click.echo(to_json(summary, out, failures) if as_json else read_table(out))
    if failures:
        names = ", ".join(failures)
        logger.error("%d of %d items failed: %s", len(failures), n_items, names)
    return failures


def _check_report(examples: int) -> None:
    """See that the report can be made, before anything is computed.

    Raises:
        ConfigError: jinja2 is not installed, or there are to be examples and matplotlib is not.
    """
    if importlib.util.find_spec("jinja2") is None:
        raise ConfigError(
            "the report needs jinja2, which is not installed: pip install 'lqsep[eval]'"
        )
    if examples and importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "the examples of the report need matplotlib, which is not installed: "
            "pip install 'lqsep[eval]', or use --examples 0"
        )


def _plan(
    dataset: Dataset, protocol: Protocol, sources: Sequence[str], seed: int, n_tracks: int | None
) -> tuple[list[EvaluationItem], dict[str, str]]:
    """The items, and which tracks have none because they cannot be read, and why.

    Raises:
        LqsepError: There is no item.
    """
    from lqsep.core.evaluation.items import plan_items

    failures: dict[str, str] = {}

    def failed(track: str, error: str) -> None:
        failures[track] = error
        logger.error("%s: %s", track, error)

    items = plan_items(
        dataset, protocol, sources=sources, seed=seed, n_tracks=n_tracks, on_failure=failed
    )
    if not items:
        raise all_failed(failures)
    return items, failures


def _run(tasks: Sequence[ItemTask], jobs: int, setup: ItemSetup) -> dict[str, str]:
    """Score the items; what failed and why."""
    failures: dict[str, str] = {}
    n_done = 0
    with ProgressBars(enabled=False if current_options().quiet else None) as bars:

        def add(result: ItemResult) -> None:
            nonlocal n_done
            check_interrupts()
            n_done += 1
            bars.update("items", n_done, len(tasks))
            if result.error is not None:
                failures[result.item] = result.error
                with bars.paused():
                    logger.error("%s: %s", result.item, result.error)

        try:
            run_tasks(tasks, jobs, setup, lambda *progress: check_interrupts(), add)
        except KeyboardInterrupt as error:
            error.add_note(f"{n_done} of {len(tasks)} items were done; the same command goes on")
            raise
    # In the order of the items, whichever was done first.
    return {
        task.item.item: failures[task.item.item] for task in tasks if task.item.item in failures
    }
