"""Counts of triples of codes, and the file that holds them beside a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from lqsep.core.errors import CheckpointError
from lqsep.core.store.weights import load_weights, save_weights

# Of the published system's files.
LASS_SUFFIX = ".npz"


@dataclass(frozen=True)
class TripleCounts:
    """How often codes of source 0, source 1 and their mixture were seen at the same frame.

    Args:
        triples: Code of source 0, of source 1, of the mixture.
        counts: How often each occurs, > 0.
        codebook_size: Codes of each of the three.
        n_frames: Frames counted.
        gains: At which the sources were mixed; None where the file does not say.
        codec_fingerprint: Of the codec that encoded; None where the file does not say.
    """

    triples: Int64[Tensor, "entries 3"]
    counts: Int64[Tensor, " entries"]
    codebook_size: int
    n_frames: int
    gains: tuple[float, ...] | None = None
    codec_fingerprint: str | None = None


def save_counts(path: str | Path, counted: TripleCounts) -> str:
    """Write counts with their gains and the codec they belong to.

    Returns:
        sha256 of the file.

    Raises:
        CheckpointError: The file cannot be written.
    """
    metadata = {
        "codebook_size": str(counted.codebook_size),
        "n_frames": str(counted.n_frames),
    }
    if counted.gains is not None:
        metadata["gains"] = json.dumps(list(counted.gains))
    if counted.codec_fingerprint is not None:
        metadata["codec_fingerprint"] = counted.codec_fingerprint
    tensors = {"triples": counted.triples.to(torch.int32), "counts": counted.counts}
    return save_weights(path, tensors, metadata)


def load_counts(path: str | Path, *, sha256: str | None = None) -> TripleCounts:
    """Read counts onto the CPU.

    Raises:
        CheckpointError: Missing, damaged, not the file that ``sha256`` expects, or no counts.
    """
    check_exists(path)
    weights = load_weights(path, sha256=sha256)
    triples, counts = weights.tensors.get("triples"), weights.tensors.get("counts")
    if triples is None or counts is None:
        raise not_counts(path, "it holds no tensors named 'triples' and 'counts'")
    if triples.is_floating_point() or counts.is_floating_point():
        raise not_counts(path, "its triples and counts are no integers")
    try:
        gains = weights.metadata.get("gains")
        return checked(
            path,
            TripleCounts(
                triples.to(torch.int64),
                counts.to(torch.int64),
                int(weights.metadata["codebook_size"]),
                int(weights.metadata["n_frames"]),
                None if gains is None else _pair(gains),
                weights.metadata.get("codec_fingerprint"),
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise not_counts(path, "its metadata are missing or damaged") from error


def checked(path: str | Path, counted: TripleCounts) -> TripleCounts:
    """The same, if its triples are codes and its counts positive.

    Raises:
        CheckpointError: They are not; names the file.
    """
    triples, counts = counted.triples, counted.counts
    if triples.ndim != 2 or triples.shape[1] != 3 or counts.shape != triples.shape[:1]:
        raise not_counts(
            path,
            f"expected lists of triples and of as many counts, got shapes {tuple(triples.shape)} "
            f"and {tuple(counts.shape)}",
        )
    if not len(counts):
        raise not_counts(path, "it is empty")
    if int(triples.min()) < 0 or int(triples.max()) >= counted.codebook_size:
        raise not_counts(path, f"its triples are not of codes below {counted.codebook_size}")
    if int(counts.min()) < 1:
        raise not_counts(path, "a count is below 1")
    return counted


def check_exists(path: str | Path) -> None:
    """Refuse a missing file.

    Raises:
        CheckpointError: Names the command that makes the file, unless it is one of LASS.
    """
    if not Path(path).is_file():
        hint = "make it with `lqsep counts MODEL_DIR --data DIR`, or check likelihood.counts"
        if Path(path).suffix == LASS_SUFFIX:
            hint = "check likelihood.counts"
        raise CheckpointError(
            f"likelihood 'counts': no file of counts at {path}; {hint}, a file in the "
            "model's directory"
        )


def not_counts(path: str | Path, why: str) -> CheckpointError:
    """The error for a file that holds something else."""
    hint = "restore it" if Path(path).suffix == LASS_SUFFIX else "make it again with `lqsep counts`"
    return CheckpointError(f"{path} is not a file of counts: {why}; {hint}")


def _pair(text: str) -> tuple[float, float]:
    first, second = (float(gain) for gain in json.loads(text))
    return first, second
