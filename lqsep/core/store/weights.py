"""Weights as safetensors files with string metadata, checked when they are loaded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from lqsep.core.errors import CheckpointError
from lqsep.core.files.new_file import new_file, system_words


@dataclass(frozen=True)
class Weights:
    """The content of a weights file."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


@dataclass(frozen=True)
class Header:
    """What a weights file says of itself without its values: shape of every tensor, metadata."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the sorted (name, dtype, shape, bytes) of the tensors, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def file_hash(path: str | Path) -> str:
    """sha256 of a file, as hexadecimal digits.

    Raises:
        CheckpointError: The file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def save_weights(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> str:
    """Write a weights file, whole or not at all. The same tensors and metadata give the same bytes.

    Returns:
        sha256 of the file.

    Raises:
        CheckpointError: The file cannot be written; what was there before stays.
    """
    path = Path(path)
    try:
        # Not safetensors' own file writing, which makes files that others may not read.
        content = _in_order(
            serialise(
                {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()},
                metadata=dict(metadata),
            )
        )
        with new_file(path) as part:
            part.write_bytes(content)
            digest = file_hash(part)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write {path}: {system_words(error)}") from error
    return digest


def load_weights(path: str | Path, *, sha256: str | None = None) -> Weights:
    """Read a weights file onto the CPU.

    Args:
        path: A safetensors file.
        sha256: Expected hash of the file; not checked when None.

    Raises:
        CheckpointError: Missing, damaged, with values that are no numbers, or not the file that was
            expected.
    """
    _check_exists(path)
    if sha256 is not None:
        found = file_hash(path)
        if found != sha256:
            raise CheckpointError(
                f"{path} is not the file its model.toml describes: expected sha256 "
                f"{sha256[:16]}..., got {found[:16]}...; if what writes it (`lqsep train`, `sums`, "
                "`counts`) was stopped at its very end, run it again, else restore the file"
            )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CheckpointError(
                f"{path} is damaged: '{name}' has values that are no numbers (NaN or infinite); "
                "restore the file or train again"
            )
    return Weights(tensors, metadata)


def read_header(path: str | Path) -> Header:
    """Shapes and metadata of a weights file, without reading its tensors.

    Raises:
        CheckpointError: Missing or damaged.
    """
    _check_exists(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            shapes = {
                name: tuple(int(n) for n in file.get_slice(name).get_shape())
                for name in file.keys()
            }
            return Header(shapes, dict(file.metadata() or {}))
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def load_module(module: torch.nn.Module, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy weights into a module; every name and shape must fit.

    Half-precision weights are brought to the module's own precision.

    Raises:
        CheckpointError: Names or shapes differ; the message names the first of them.
    """
    check_module(module, tensors, path)
    expected = module.state_dict()
    module.load_state_dict(
        {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}
    )


def check_module(module: torch.nn.Module, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse weights that a module has no place for; it may be one without values (``meta``).

    Raises:
        CheckpointError: Names, shapes or kinds differ; the message names the first of them.
    """
    expected = module.state_dict()
    mismatch = name_mismatch(expected, tensors) or shape_mismatch(expected, tensors)
    if mismatch is not None:
        raise CheckpointError(f"{path} does not fit the configured model: {mismatch}")


def name_mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """In words, the first tensor that is missing or unexpected and their counts; None if none."""
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if not missing and not extra:
        return None
    first = f"missing {missing[0]!r}" if missing else f"unexpected {extra[0]!r}"
    return f"{first} ({len(missing)} missing, {len(extra)} unexpected tensors)"


def shape_mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """In words, the first tensor of another shape or kind than expected; None if there is none.

    Floating point of another precision is taken, bits of integers are not. The names must be the
    same, see `name_mismatch`.
    """
    for name, tensor in found.items():
        if tensor.is_floating_point() != expected[name].is_floating_point():
            return f"{name!r} holds {tensor.dtype}, expected {expected[name].dtype}"
        if tensor.shape != expected[name].shape:
            return (
                f"{name!r} has shape {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}"
            )
    return None


def check_codec_fingerprint(
    path: str | Path, metadata: Mapping[str, str], expected: str | None
) -> None:
    """Refuse weights that were trained on another codec.

    Weights that name no codec fit any of their size.

    Raises:
        CheckpointError: The fingerprints differ.
    """
    found = metadata.get("codec_fingerprint")
    if found is not None and expected is not None and found != expected:
        raise CheckpointError(
            f"{path} was trained on another codec: expected fingerprint {expected[:16]}..., "
            f"got {found[:16]}...; use the codec it was trained with or train it again"
        )


def _in_order(content: bytes) -> bytes:
    """The file with its metadata sorted, which safetensors writes in an order of chance."""
    n_header = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n_header])
    metadata = header.pop("__metadata__", {})
    entries = {"__metadata__": dict(sorted(metadata.items())), **header}
    # The tensors' offsets count from the header's end; spaces round it up to whole words.
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + n_header :]


def _check_exists(path: str | Path) -> None:
    if not os.path.isfile(path):
        raise CheckpointError(f"no weights file at {path}; train the model or check the path")


def _damaged(path: str | Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} is not a readable safetensors file ({error}); restore it")
