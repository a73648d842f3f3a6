"""The codec's file: every book's tensors, ``<source index>.<field>``, and the features' settings.

Metadata hold ``component``, ``sources`` (their names, as JSON) and what training measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lqsep.core.errors import CheckpointError
from lqsep.core.store.weights import load_weights, name_mismatch, save_weights, shape_mismatch
from lqsep.plugins.spectral.book import SpectralBook
from lqsep.plugins.spectral.codec import codec_tensors
from lqsep.plugins.spectral.features import SpectralFeatures

# In the order of `SpectralFeatures.settings`.
_SETTINGS = ("sample_rate", "n_fft", "hop_length", "n_bands", "linear_hz", "floor_db")


def save_books(
    path: str | Path,
    features: SpectralFeatures,
    books: Sequence[SpectralBook],
    sources: Sequence[str],
    metadata: Mapping[str, str],
) -> str:
    """Write a codec.

    Returns:
        sha256 of the file.

    Raises:
        CheckpointError: The file cannot be written.
    """
    described = {"component": "spectral-vq", "sources": json.dumps(list(sources))}
    return save_weights(path, codec_tensors(features, books), {**metadata, **described})


def load_books(
    path: str | Path,
    features: SpectralFeatures,
    codebook_size: int,
    sources: Sequence[str],
    *,
    sha256: str | None = None,
) -> tuple[SpectralBook, ...]:
    """Read the books of a codec onto the CPU.

    Raises:
        CheckpointError: Missing, damaged, not the file that ``sha256`` expects, or trained with
            other settings or for other sources.
    """
    weights = load_weights(path, sha256=sha256)
    _check_component(path, weights.metadata)
    _check_settings(path, weights.tensors.get("features"), features)
    _check_sources(path, weights.metadata, sources)
    shapes = _shapes(features, codebook_size)
    expected = {
        f"{source}.{name}": torch.empty(shape, dtype=dtype, device="meta")
        for source in range(len(sources))
        for name, (shape, dtype) in shapes.items()
    }
    found = {name: tensor for name, tensor in weights.tensors.items() if name != "features"}
    mismatch = name_mismatch(expected, found)
    if mismatch is not None:
        raise CheckpointError(f"{path} is damaged: {mismatch}; train the codec again")
    mismatch = shape_mismatch(expected, found)
    if mismatch is not None:
        raise CheckpointError(
            f"{path} does not fit the configured codec: {mismatch}; set codec.codebook_size to the "
            "one it was trained with"
        )
    for name, tensor in found.items():
        if name.endswith(("variance", "count")) and bool((tensor < 0).any()):
            raise CheckpointError(
                f"{path} is damaged: '{name}' has values below 0; train the codec again"
            )
    return tuple(
        SpectralBook(**{name: found[f"{source}.{name}"] for name in shapes})
        for source in range(len(sources))
    )


def _shapes(
    features: SpectralFeatures, codebook_size: int
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Of the tensors of one book, with their kind."""
    return {
        "mean": ((codebook_size, features.n_bands), torch.float32),
        "variance": ((codebook_size, features.n_bands), torch.float32),
        "log_power": ((codebook_size, features.n_bins), torch.float32),
        "count": ((codebook_size,), torch.int64),
    }


def _check_component(path: str | Path, metadata: Mapping[str, str]) -> None:
    found = metadata.get("component")
    if found != "spectral-vq":
        raise CheckpointError(
            f"{path} is not a codec 'spectral-vq' but {found or 'something else'}; check "
            "codec.checkpoint, or train the codec with `lqsep train codec`"
        )


def _check_settings(path: str | Path, found: Tensor | None, features: SpectralFeatures) -> None:
    expected = features.settings()
    if found is None or found.shape != expected.shape:
        raise CheckpointError(
            f"{path} is damaged: it does not say with which settings it was trained; train the "
            "codec again"
        )
    for name, configured, trained in zip(_SETTINGS, expected.tolist(), found.tolist(), strict=True):
        if configured != trained:
            raise CheckpointError(
                f"{path} was trained with {name} = {trained:g}, but the configuration has "
                f"codec.{name} = {configured:g}; set it to {trained:g} or train the codec again"
            )


def _check_sources(path: str | Path, metadata: Mapping[str, str], sources: Sequence[str]) -> None:
    try:
        found = [str(name) for name in json.loads(metadata["sources"])]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged: it does not say for which sources it was trained; train the "
            "codec again"
        ) from error
    if found != list(sources):
        raise CheckpointError(
            f"{path} holds codes of {', '.join(found)}, in this order, but the configuration has "
            f"{', '.join(sources)}; use the same sources or train the codec again"
        )
