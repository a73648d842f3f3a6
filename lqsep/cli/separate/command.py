"""``lqsep separate``: its options, and what is checked before the long computation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from lqsep.cli.jobs.run import run_tasks
from lqsep.cli.options import (
    Seconds,
    SourceValue,
    current_options,
    jobs_option,
    seed_option,
    split_names,
)
from lqsep.cli.pipeline.flags import (
    check_model_flags,
    model_flags,
    pipeline_changes,
    pipeline_flags,
    read_chosen_pipeline,
    use_one_thread,
)
from lqsep.cli.separate.inputs import find_inputs, track_names
from lqsep.cli.separate.references import check_references, mixture_name
from lqsep.cli.separate.results import Results
from lqsep.cli.separate.run import (
    Track,
    TrackResult,
    TrackSettings,
    check_input,
    identity_of,
)
from lqsep.cli.separate.worker import TrackSetup
from lqsep.core.components.config import check_two_sources
from lqsep.core.errors import AudioError, ConfigError, did_you_mean
from lqsep.core.files.new_file import check_writable
from lqsep.core.files.staging import sweep
from lqsep.core.separation.output.settings import (
    DEFAULT_TEMPLATE,
    OutputSettings,
    check_distinct,
    check_format,
    check_template,
)

logger = logging.getLogger(__name__)


@click.command()
@click.argument("inputs", nargs=-1, metavar="[INPUT...]")
@model_flags
@click.option("-o", "--out", default="separated", show_default=True, help="Output folder.")
@pipeline_flags
@seed_option("The same seed gives the same stems.")
@click.option(
    "--start", type=Seconds(), default=0.0, metavar="S", help="Begin S seconds into the file."
)
@click.option(
    "--duration", type=Seconds(positive=True), metavar="S", help="Separate S seconds only."
)
@click.option("--stems", metavar="A,B", help="Write these stems only.")
@click.option("--residual", is_flag=True, help="Also write the mixture minus the sum of all stems.")
@click.option(
    "--complement",
    is_flag=True,
    help="Also write the mixture minus the stems of --stems, everything else.",
)
@click.option(
    "--two-stems", metavar="A", help="The same as --stems A --complement: one stem and the rest."
)
@click.option(
    "--filename",
    "template",
    default=DEFAULT_TEMPLATE,
    show_default=True,
    help="Names of the files below OUT/MODEL.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["wav", "flac", "ogg", "mp3"]),
    default="wav",
    show_default=True,
    help="File format.",
)
@click.option("--float32", is_flag=True, help="Write 32-bit float samples (wav).")
@click.option("--int24", is_flag=True, help="Write 24-bit samples (wav, flac).")
@click.option(
    "--clip-mode",
    type=click.Choice(["none", "clamp", "rescale"]),
    default="none",
    show_default=True,
    help="Beyond full scale: as the format does, limited, or all files of a track made quieter.",
)
@click.option(
    "--reference",
    "references",
    type=SourceValue(),
    metavar="SOURCE=FILE",
    multiple=True,
    help="Recording of a source: times its gain, it scores the result. Without INPUT, the mixture "
    "is formed from the references. May be repeated.",
)
@click.option(
    "--save-candidates",
    type=click.IntRange(1, 100),
    metavar="K",
    help="Also write the stems of the K best candidates, and codes and scores of all of them.",
)
@click.option(
    "--plots", is_flag=True, help="Also draw spectrograms, disagreement, one step, pairs."
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON document.")
@jobs_option("Tracks separated at a time, each in a process with a model of its own.")
@click.option(
    "--skip-existing",
    is_flag=True,
    help="Skip tracks whose results are there, made from the same file with the same settings.",
)
@click.option("--overwrite", is_flag=True, help="Replace the results of other inputs, too.")
@click.pass_context
def separate(context: click.Context, /, **options: Any) -> None:
    """Separate audio files into their sources.

    INPUT is a file, a folder (all audio files below it), a glob pattern, a pipe, or - for standard
    input. Stems are written to OUT/MODEL/TRACK/STEM.wav, with a report in
    OUT/MODEL/TRACK/lqsep.json. Without INPUT, the mixture is formed from one --reference per
    source.
    """
    with ExitStack() as pipes:
        results = _separate(pipes, **options)
    if any(result.status == "failed" for result in results):
        context.exit(1)


def _separate(
    pipes: ExitStack,
    inputs: Sequence[str],
    name: str | None,
    config: str | None,
    out: str,
    device: str,
    template: str,
    file_format: str,
    float32: bool,
    int24: bool,
    stems: str | None,
    residual: bool,
    complement: bool,
    two_stems: str | None,
    clip_mode: Any,
    seed: int,
    start: float,
    duration: float | None,
    references: Sequence[tuple[str, str]],
    save_candidates: int | None,
    plots: bool,
    as_json: bool,
    jobs: int,
    skip_existing: bool,
    overwrite: bool,
    **pipeline_options: Any,
) -> list[TrackResult]:
    """Check everything, then separate; cheap checks come first."""
    check_model_flags(name, config)
    if not inputs and not references:
        raise click.UsageError("give an INPUT, or one --reference per source")
    if any(text == "" for text in (*inputs, out)):
        # An empty path would stand for the working directory.
        raise click.UsageError("INPUT and --out must not be empty")
    if float32 and int24:
        raise click.UsageError("give --float32 or --int24, not both")
    if two_stems is not None:
        if stems is not None or "," in two_stems:
            raise click.UsageError("--two-stems takes one stem, and does not go with --stems")
        stems, complement = two_stems, True
    if complement and stems is None:
        raise click.UsageError("--complement needs --stems: what is everything else to be without?")
    check_template(template)
    subtype = "FLOAT" if float32 else "PCM_24" if int24 else "PCM_16"
    check_format(file_format, subtype)

    use_one_thread()

    from lqsep.core.components.registry import Registry
    from lqsep.core.store.devices import resolve_device

    resolve_device(device)
    if plots:
        _check_plots()
    registry = Registry.discover()
    changes = pipeline_changes(**pipeline_options)
    pipeline = read_chosen_pipeline(name, config, changes, registry)
    parsed = pipeline.parse(registry)
    sources = tuple(parsed.sources)
    check_two_sources(sources, pipeline.path)
    recordings = check_references(
        references, dict(zip(sources, parsed.gains, strict=True)), forms_mixture=not inputs
    )
    output = OutputSettings(
        root=Path(out) / pipeline.name,
        stems=_chosen(stems, sources),
        residual=residual,
        complement=complement,
        template=template,
        format=file_format,
        subtype=subtype,
        clip_mode=clip_mode,
        mixture=not inputs,
        n_candidates=save_candidates or 0,
        plots=plots,
    )
    found = find_inputs(inputs, skip=Path(out), pipes=pipes)
    files = found.files
    if len(files) > 1 and recordings:
        raise click.UsageError(f"--reference goes with one INPUT; there are {len(files)} files")
    tracks = [
        Track(file.path, name, recordings, found.given.get(file.path))
        for file, name in zip(files, track_names(files), strict=True)
    ]
    if not inputs:
        tracks = [Track(None, mixture_name(recordings), recordings)]
    read = [*(file.path for file in files), *(reference.path for reference in recordings)]
    check_distinct(output, [track.name for track in tracks], read)
    check_writable(output.root)

    settings = TrackSettings(
        output,
        seed,
        start,
        duration,
        pipeline={"model": pipeline.name, "config": parsed.to_dict()},
        overwrite=overwrite,
        debug=current_options().debug,
    )
    with Results(output.root, pipeline.name, as_json, len(tracks)) as results:
        for path, why in found.left_out:
            results.leave_out(path, why)
        for text, error in found.failures:
            results.add(TrackResult(text, None, "failed", error=error))
        todo = []
        for track in tracks:
            known = _skipped(track, settings) if skip_existing else None
            known = known or check_input(track, settings)
            if known is None:
                todo.append(track)
            else:
                results.add(known)
        setup = TrackSetup(pipeline, device, current_options(), settings)
        run_tasks(todo, jobs, setup, results.progress, results.add)
    results.print_summary()
    return results.all


def _chosen(stems: str | None, sources: Sequence[str]) -> tuple[str, ...]:
    """The sources that ``--stems`` names, in the order of the pipeline."""
    if stems is None:
        return tuple(sources)
    names = split_names(stems)
    for name in names:
        if name not in sources:
            hint = did_you_mean(name, sources) or ";"
            raise ConfigError(
                f"--stems: no source named '{name}'{hint} sources: {', '.join(sources)}"
            )
    if not names:
        raise ConfigError(f"--stems names no source; sources: {', '.join(sources)}")
    return tuple(source for source in sources if source in names)


def _skipped(track: Track, settings: TrackSettings) -> TrackResult | None:
    """A result where all files are there, made from the same files with the same settings."""
    from lqsep.core.separation.output.identity import read_report

    output = settings.output
    try:
        is_done = identity_of(track, settings).is_done(output, track.name)
    except AudioError:  # which checking the input tells
        return None
    if not is_done:
        return None
    report_path = output.report_path(track.name)
    # What writes there removes what killed commands have left; nothing will be written.
    for path in {report_path.parent, *(p.parent for p in output.all_paths(track.name).values())}:
        sweep(path)
    scores = (read_report(report_path) or {}).get("scores", ())
    return TrackResult(
        track.label,
        track.name,
        "skipped",
        files={name: str(path) for name, path in output.all_paths(track.name).items()},
        report=str(report_path),
        scores=tuple(scores),
    )


def _check_plots() -> None:
    """See that pictures can be drawn, before anything is computed.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    from lqsep.core.plotting.spectrograms import new_figure

    new_figure(1, 1)
