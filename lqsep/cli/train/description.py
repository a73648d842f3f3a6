"""What stays true of a model when a part of it is trained anew."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Tables of [model] whose entries are of single parts.
_OF_PARTS = ("files", "recipe", "metrics")

# Below [model.metrics]: the sections of a pipeline. Others are figures of the whole.
_SECTIONS = {"codec", "sources", "likelihood", "selector", "refiners"}

logger = logging.getLogger(__name__)


def of_the_parts(model: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What ``[model]`` says of its parts, each of which has a run of its own.

    Licence, training data, version, speed and scores are of a whole that is no more: they are left
    out, which is told.

    Args:
        model: The table.
        path: Of its file, for the message.
    """
    kept = {key: dict(model[key]) for key in _OF_PARTS if isinstance(model.get(key), Mapping)}
    gone = [key for key in model if key not in kept]
    if "metrics" in kept:
        kept["metrics"] = {k: v for k, v in kept["metrics"].items() if k in _SECTIONS}
    if "recipe" in kept:
        kept["recipe"] = _recipes(kept["recipe"])
    if gone:
        logger.warning(
            "%s: what [model] said of the model before training is left out (%s)",
            path,
            ", ".join(gone),
        )
    return kept


def _recipes(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of each part, with the data that were named once for all of them."""
    parts = recipe.get("train")
    if not isinstance(parts, Mapping):
        return {}
    common = {"data": recipe["data"]} if "data" in recipe else {}
    return {
        "train": {
            kind: {**common, **part} if isinstance(part, Mapping) else part
            for kind, part in parts.items()
        }
    }
