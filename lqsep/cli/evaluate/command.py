"""``lqsep evaluate``: scores of a model on a data set, under a named protocol."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lqsep.cli.console.interrupts import Interrupts
from lqsep.cli.console.progress import ProgressBars
from lqsep.cli.data.choice import DatasetChoice
from lqsep.cli.evaluate.run import (
    EXAMPLES,
    ItemResult,
    ItemSetup,
    ItemTask,
    is_done,
    read_result,
)
from lqsep.cli.evaluate.settings import (
    SCHEMA_VERSION,
    SETTINGS_FILE,
    SUMMARY_FILES,
    check_same,
    delete_results,
    known_baselines,
    read_settings,
    with_baselines,
)
from lqsep.cli.jobs import run_tasks
from lqsep.cli.options import current_options, jobs_option, seed_option
from lqsep.cli.pipeline.flags import (
    check_model_flags,
    model_flags,
    pipeline_changes,
    pipeline_flags,
    read_chosen_pipeline,
    use_one_thread,
)
from lqsep.cli.separate.outputs import check_writable
from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import ConfigError, LqsepError
from lqsep.core.evaluation.protocols import PROTOCOLS, find_protocol
from lqsep.core.store.new_file import write_text

if TYPE_CHECKING:
    from lqsep.core.components.config import PipelineConfig
    from lqsep.core.components.registry import Registry
    from lqsep.core.evaluation.items import EvaluationItem
    from lqsep.core.evaluation.protocols import Protocol
    from lqsep.core.evaluation.summary import Summary
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
    help="Score what needs no model, and upper bounds, too.",
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
    with Interrupts() as interrupts:
        failures = _evaluate(interrupts, **options)
    if failures:
        context.exit(1)


def _evaluate(
    interrupts: Interrupts,
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
    if examples and importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "the examples of the report need matplotlib, which is not installed: "
            "pip install 'lqsep[eval]', or use --examples 0"
        )
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
        **_pipeline_settings(parsed, device, registry),
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
    failures |= _run([t for t in tasks if not is_done(out, t, sources)], jobs, setup, interrupts)
    summary = _write_summary(tasks, wanted, out, failures)
    click.echo(_document(summary, out, failures) if as_json else _read(out / "summary.md"))
    if failures:
        names = ", ".join(failures)
        logger.error("%d of %d items failed: %s", len(failures), n_items, names)
    return failures


def _pipeline_settings(config: PipelineConfig, device: str, registry: Registry) -> dict[str, Any]:
    """What decides the stems: codec, configuration, kind of device, versions."""
    import torch

    from lqsep.core.components.assemble import BuildContext, build
    from lqsep.core.components.config import file_hashes
    from lqsep.core.components.spec import Kind
    from lqsep.core.separation.report import versions
    from lqsep.core.store.devices import resolve_device

    context = BuildContext(
        device=resolve_device(device),
        dtype=torch.float32,
        sources=tuple(config.sources),
        gains=config.gains,
        base_dir=config.base_dir,
        hashes=file_hashes(config.model),
    )
    codec = build(registry.find(Kind.CODEC, config.codec.type), config.codec, context)
    values = config.to_dict()
    return {
        "codec_fingerprint": codec.fingerprint,
        "device": context.device.type,
        "config": {key: values[key] for key in values if key not in {"data", "train"}},
        "versions": versions(),
    }


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
        raise _all_failed(failures)
    return items, failures


def _run(
    tasks: Sequence[ItemTask], jobs: int, setup: ItemSetup, interrupts: Interrupts
) -> dict[str, str]:
    """Score the items; what failed and why."""
    failures: dict[str, str] = {}
    n_done = 0
    with ProgressBars(enabled=False if current_options().quiet else None) as bars:

        def add(result: ItemResult) -> None:
            nonlocal n_done
            interrupts.check()
            n_done += 1
            bars.update("items", n_done, len(tasks))
            if result.error is not None:
                failures[result.item] = result.error
                with bars.paused():
                    logger.error("%s: %s", result.item, result.error)

        run_tasks(tasks, jobs, setup, lambda *progress: interrupts.check(), add)
    # In the order of the items, whichever was done first.
    return {
        task.item.item: failures[task.item.item] for task in tasks if task.item.item in failures
    }


def _write_summary(
    tasks: Sequence[ItemTask],
    settings: Mapping[str, Any],
    out: Path,
    failures: Mapping[str, str],
) -> Summary:
    """Write all that is about all items, from what is in their files.

    Raises:
        LqsepError: No item has a result.
    """
    from lqsep.core.evaluation.page.document import render_page
    from lqsep.core.evaluation.page.sounds import Example
    from lqsep.core.evaluation.summary import summarise
    from lqsep.core.evaluation.tables import to_csv, to_markdown

    read = [read_result(out, task.item.item) for task in tasks]
    results = [result for result in read if result is not None]
    if not results:
        raise _all_failed(failures)
    summary = summarise(results)
    scored = {result["item"] for result in results}
    folders = [out / EXAMPLES / t.item.item for t in tasks if t.is_example]
    found = [Example.find(folder, settings["sources"]) for folder in folders]
    examples = [example for example in found if example is not None and example.name in scored]
    page = render_page(settings, results, summary, examples, failures)
    texts = (to_csv(summary), to_markdown(summary), page)
    for file, text in zip(SUMMARY_FILES, texts, strict=True):
        write_text(out / file, text)
    return summary


def _all_failed(failures: Mapping[str, str]) -> LqsepError:
    first, error = next(iter(failures.items()), ("", ""))
    return LqsepError(f"all {len(failures)} items failed; the first, {first}: {error}")


def _document(summary: Summary, out: Path, failures: Mapping[str, str]) -> str:
    return json.dumps({**asdict(summary), "failures": dict(failures), "output": str(out)}, indent=2)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").rstrip("\n")
