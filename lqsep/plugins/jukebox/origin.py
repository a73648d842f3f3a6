"""What weights keep of the checkpoint that they come from, so that an export gives it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lqsep.core.errors import CheckpointError
from lqsep.core.store.pickled_checkpoint import PickledCheckpoint
from lqsep.core.store.weights import read_header

# Names in the metadata of weights: settings as JSON, and the training step.
_HPS, _STEP = "jukebox_hps", "jukebox_step"


def origin_metadata(checkpoint: PickledCheckpoint) -> dict[str, str]:
    """Settings and step of a checkpoint as metadata of weights."""
    origin = {_HPS: json.dumps(checkpoint.hps)}
    if checkpoint.step is not None:
        origin[_STEP] = str(checkpoint.step)
    return origin


def origin_of(path: Path) -> tuple[dict[str, Any], int]:
    """Settings and step of the checkpoint that weights were imported from; nothing and 0 if none.

    Raises:
        CheckpointError: They cannot be read.
    """
    metadata = read_header(path).metadata
    try:
        hps = json.loads(metadata.get(_HPS, "{}"))
        step = int(metadata.get(_STEP, "0"))
    except ValueError as error:
        raise CheckpointError(f"{path}: its settings of the import are damaged: {error}") from error
    return {key: _with_tuples(value) for key, value in hps.items()}, step


def _with_tuples(value: Any) -> Any:
    """JSON knows lists only; the reference's settings are tuples."""
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return value
