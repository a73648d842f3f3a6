"""What `results.py` had evaluated, read back and put together, set by set."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT = "drums-bass"

BASELINES_WITH = "drums-bass-lqvae"
"""The model whose runs hold the baselines and oracles, which are the same beside any model."""

MODELS = (BASELINES_WITH, DEFAULT)
"""In the order of the tables."""

DIGEST_FILE = "data.json"
"""In the folder of a run: the digest of the sounds it was made with."""

BASELINES = ("mixture/2", "hpss", "oracle-mask")


@dataclass(frozen=True)
class SetResults:
    """All results on one test set.

    Args:
        name: The set's.
        title: For people.
        results: One per item, in the form that `lqsep evaluate` writes, with the scores of all
            estimates: models by name, baselines, and differences such as ``drums-bass - hpss``.
        seconds: By model and item, per second of audio: by the clock and of the processor.
        hpss: The setting that was found for this set, for people.
    """

    name: str
    title: str
    results: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, Sequence[tuple[float, float]]]
    hpss: str


def read_set(results: Path, name: str, title: str) -> SetResults | None:
    """What there is of one set; None where nothing is.

    Exits where the models were evaluated on different sounds.
    """
    if len({data_digest(results / name / model) for model in MODELS} - {None}) > 1:
        sys.exit(f"{results / name}: the models had different sounds; evaluate them all again")
    items: dict[str, dict[str, Any]] = {}
    seconds: dict[str, list[tuple[float, float]]] = {}
    for model in MODELS:
        for path in sorted((results / name / model / "items").glob("[!.]*.json")):
            found = json.loads(path.read_text(encoding="utf-8"))
            item = items.setdefault(found["item"], {**found, "scores": [], "notes": []})
            item["scores"] += _renamed(found["scores"], model)
            item["model"] = "all"
            times = found["timings_s"]
            taken = times["separate"], times["separate_processor"]
            seconds.setdefault(model, []).append(tuple(t / found["duration_s"] for t in taken))
    for item in items.values():
        for baseline in ("hpss", "mixture/2"):
            item["scores"] += _differences(item["scores"], DEFAULT, baseline)
    if not items:
        return None
    return SetResults(name, title, list(items.values()), seconds, _hpss(results, name))


def digest_of(folder: Path) -> str:
    """Of all sounds of a test set."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("test/*/*.wav")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def data_digest(run: Path) -> str | None:
    """What a run was made with; None where there is no run."""
    path = run / DIGEST_FILE
    return json.loads(path.read_text(encoding="utf-8"))["sha256"] if path.is_file() else None


def _renamed(scores: Sequence[Mapping[str, Any]], model: str) -> Iterator[dict[str, Any]]:
    """The model's own result under its name, and the baselines of one model."""
    for score in scores:
        if score["estimate"] == "lqsep":
            yield {**score, "estimate": model}
        elif model == BASELINES_WITH and score["estimate"] in BASELINES:
            yield dict(score)


def _differences(scores: Sequence[Mapping[str, Any]], one: str, other: str) -> list[dict[str, Any]]:
    """Item by item, so that their interval is that of the difference."""
    values = {(s["estimate"], s["source"], s["metric"]): s["value"] for s in scores}
    found = []
    for score in scores:
        above, below = score["value"], values.get((other, score["source"], score["metric"]))
        if score["estimate"] == one and above is not None and below is not None:
            found.append({**score, "estimate": f"{one} - {other}", "value": above - below})
    return found


def _hpss(results: Path, name: str) -> str:
    path = results / name / BASELINES_WITH / "evaluation.json"
    if not path.is_file():
        return "not evaluated"
    setting = json.loads(path.read_text(encoding="utf-8"))["fitted_baselines"]["hpss"]
    return (
        f"window {1000 * setting['window_s']:.0f} ms, filters {setting['time_s']:g} s and "
        f"{setting['frequency_hz']:g} Hz"
    )
