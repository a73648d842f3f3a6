"""One item: separate it, and compare what was found with what is true.

Estimates: ``lqsep`` is the pipeline's own result, refined. ``best-of-N`` are the candidates as
decoded, each source's best by SDR: it knows the truth, like the oracles. Under ``lqvae2021``
there are also each source's most probable candidate (``marginal``) and the most probable
combination (``pair``), as decoded. For baselines and oracles see
`lqsep.core.evaluation.baselines_of`. All are compared as they stand in the mixture: times their
gain, with the reference times its gain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.evaluation.baselines_of import Baselines, baseline_stems, codec_round_trips
from lqsep.core.evaluation.items import EvaluationItem, load_item
from lqsep.core.evaluation.protocols import MUSEVAL_V4, TRACK_SDR, Protocol
from lqsep.core.evaluation.raw_candidates import best_scores, pick, score_candidates
from lqsep.core.evaluation.scores import Figure, museval_scores, si_sdr_scores, track_scores
from lqsep.core.evaluation.sound import ItemSound
from lqsep.core.evaluation.stopwatch import Stopwatch
from lqsep.core.evaluation.track_run import separate_track
from lqsep.core.interfaces.data import Mixture
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.separation.pipeline import SegmentResult
from lqsep.core.separation.run import segment_generator
from lqsep.core.separation.separator import Separator
from lqsep.core.signal.metrics import candidate_sdr

SCHEMA_VERSION = 2

SCORED_SAMPLES = 44_100
"""What counts of a chunk under ``lqvae2021``: museval's default window, whatever the rate."""

Wave = npt.NDArray[np.float32]

Stems = Float[Tensor, "sources channels samples"]

_MODES: tuple[Literal["marginal", "pair"], ...] = ("marginal", "pair")


class Media(TypedDict):
    """What to listen to; waves float32, ``channels samples``, as they stand in the mixture."""

    sample_rate: int
    mixture: Wave
    estimates: dict[str, Wave]
    references: dict[str, Wave]


def evaluate_item(
    separator: Separator,
    dataset: Dataset,
    item: EvaluationItem,
    protocol: Protocol,
    *,
    seed: int = 0,
    baselines: Baselines | None = None,
) -> tuple[dict[str, Any], Media]:
    """Score one item; the same for the same separator, item and seed.

    Args:
        separator: The pipeline.
        dataset: Where the item comes from.
        item: Of `plan_items`.
        protocol: The same as the plan's.
        seed: As ``lqsep separate --seed``.
        baselines: Computed beside the model when given, see `fit_baselines`.

    Returns:
        The item's result, plain values for JSON: ``schema_version``, ``item``, ``track``,
        ``start_s``, ``duration_s``, ``protocol``, ``model``, ``seed``, ``scores`` (a list of
        ``estimate``, ``source``, ``metric``, ``reference``, ``value``, ``n_windows``,
        ``n_undefined``, see `Figure`; None where there is no value), ``timings_s``, ``notes``. And
        the pipeline's own stems to listen to.

    Raises:
        ConfigError: museval is needed and not installed.
        AudioError: A file cannot be read.
    """
    sound = load_item(dataset, item, protocol, sources=separator.sources, gains=separator.gains)
    work = _evaluate_chunk if protocol.unit == "chunk" else _evaluate_track
    scores, stems, watch, notes = work(separator, sound, protocol, seed, baselines)
    result = {
        "schema_version": SCHEMA_VERSION,
        "item": item.item,
        "track": item.track,
        "start_s": item.start_s,
        "duration_s": item.duration_s,
        "protocol": protocol.name,
        "model": separator.name,
        "seed": seed,
        "scores": scores,
        "timings_s": watch.to_dict(),
        "notes": [*notes, *(baselines.notes if baselines else ())],
    }
    return result, _media(separator.sources, sound, stems)


_Outcome = tuple[list[dict[str, Any]], Stems, Stopwatch, list[str]]


def _evaluate_chunk(
    separator: Separator,
    sound: ItemSound,
    protocol: Protocol,
    seed: int,
    baselines: Baselines | None,
) -> _Outcome:
    """Separated as one segment: the raw candidates are wanted, and a chunk has three seconds."""
    mixture = Mixture(sound.mixture.to(separator.device), sound.sample_rate)
    watch = Stopwatch()
    result = separator.separate_segment(mixture, generator=segment_generator(seed, 0))
    watch.stop()
    stems = result.stems.cpu()
    round_trip = codec_round_trips(sound, separator.codec, separator.device)
    references = dict(zip(protocol.references, (sound.stems, round_trip), strict=True))
    truth = torch.stack([stem[:, 0, :SCORED_SAMPLES] for stem in references.values()])
    values = {"lqsep": _sdr(truth, stems)}
    notes = _add_candidates(values, separator, result, truth, mixture)
    if baselines is not None:
        others = baseline_stems(
            sound, separator.sources, separator.codec, separator.device, baselines
        )
        values |= {name: _sdr(truth, estimate) for name, estimate in others.items()}
    scores = []
    for number, reference in enumerate(protocol.references):
        for name, found in values.items():
            if (name, reference) != ("codec", "decoded"):  # the same waves
                figures = [Figure.of_one(value) for value in found[number].tolist()]
                scores += _records(name, reference, separator.sources, {"sdr": figures})
    return scores, stems, watch, notes


def _add_candidates(
    values: dict[str, Tensor],
    separator: Separator,
    result: SegmentResult,
    truth: Float[Tensor, "references sources samples"],
    mixture: Mixture,
) -> list[str]:
    """Add the values of the raw candidates, ``references sources``; gives notes."""
    info, decoded = separator.codec.info, result.decoded
    n_samples = mixture.wave.shape[-1]
    scores = score_candidates(decoded, truth, info.sample_rate, mixture.sample_rate, n_samples)
    warnings = (*result.bound.warnings, *result.candidates.warnings)
    notes = [f"best-of-N: N = {scores.shape[-1]}", *warnings]
    for mode in _MODES:
        picks = pick(decoded, result.encoded.wave, mode)
        if picks is None:
            values[mode] = torch.full_like(scores[..., 0], math.nan)
            notes.append(f"{mode}: too many candidates to list their combinations")
        else:
            values[mode] = scores[:, range(len(picks)), picks]
    values["best-of-N"] = best_scores(scores)
    if info.sample_rate != mixture.sample_rate:
        notes.append(
            f"the codec works at {info.sample_rate} Hz: what it decodes is resampled to "
            f"{mixture.sample_rate} Hz"
        )
    return notes


def _evaluate_track(
    separator: Separator,
    sound: ItemSound,
    protocol: Protocol,
    seed: int,
    baselines: Baselines | None,
) -> _Outcome:
    references, mixture, rate = sound.stems, sound.mixture, sound.sample_rate
    run = separate_track(separator, sound, seed)
    estimates, notes = {"lqsep": run.stems}, list(run.notes)
    if baselines is not None:
        estimates["best-of-N"] = run.best
        notes.append(f"best-of-N: N = {run.n_candidates}, of every segment the best by SDR")
        estimates |= baseline_stems(
            sound, separator.sources, separator.codec, separator.device, baselines
        )
    scores = []
    for name, estimate in estimates.items():
        if protocol == MUSEVAL_V4:
            found = museval_scores(references, estimate, rate)
        elif protocol == TRACK_SDR:
            found = track_scores(references, estimate, mixture, rate)
        else:
            found = si_sdr_scores(references, estimate, mixture, rate)
        scores += _records(name, "original", separator.sources, found)
    return scores, run.stems, run.watch, notes


def _sdr(
    truth: Float[Tensor, "references sources samples"], estimate: Stems
) -> Float[Tensor, "references sources"]:
    """SDR of channel 0 over the samples that count."""
    waves = estimate[:, :1, : truth.shape[-1]]
    return torch.stack([candidate_sdr(wanted, waves)[:, 0] for wanted in truth])


def _records(
    estimate: str, reference: str, sources: Sequence[str], figures: Mapping[str, Sequence[Figure]]
) -> list[dict[str, Any]]:
    return [
        {
            "estimate": estimate,
            "source": source,
            "metric": metric,
            "reference": reference,
            "value": None if math.isnan(figure.value) else figure.value,
            "n_windows": figure.n_windows,
            "n_undefined": figure.n_undefined,
        }
        for metric, by_source in figures.items()
        for source, figure in zip(sources, by_source, strict=True)
    ]


def _media(sources: Sequence[str], sound: ItemSound, stems: Stems) -> Media:
    def waves(values: Stems) -> dict[str, Wave]:
        return dict(zip(sources, values.float().numpy(), strict=True))

    return {
        "sample_rate": sound.sample_rate,
        "mixture": sound.mixture.float().numpy(),
        "estimates": waves(stems),
        "references": waves(sound.stems),
    }
