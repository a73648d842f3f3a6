"""Arrays of every kind for `Separator.separate`: finite stems of their length, or one error."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.soak import invariants
from tests.soak.children import run_child
from tests.soak.material import Material

_SHAPES = (
    (0,), (1,), (7,), (1600,), (1, 1600), (2, 1600), (1600, 2), (0, 1600), (2, 0), (1, 1),
    (3, 1, 800), (), (64, 900), (65, 900), (100, 300), (1, 2, 800), (5, 1),
)  # fmt: skip
_DTYPES = (
    "float16", "float32", "float64", "longdouble", "int8", "uint8", "int16", "uint16", "int32",
    "int64", "uint32", "uint64", "bool", "complex64", "object", "U4", "datetime64[s]", ">f4",
    ">i2", "<f8",
)  # fmt: skip
_TORCH = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int16, torch.int32,
    torch.uint8, torch.bool, torch.complex64, torch.int64,
)  # fmt: skip
_SPECIAL = (np.nan, np.inf, -np.inf, 1e38, 3e38, 1e-45, 2.0, 30.0, 1000.0, 1e5, -1.0)
_RATES: tuple[Any, ...] = (
    8000, 8000, 8000, 8000, 8000, 44100, 22050, 7999, 8000.0, np.int64(8000), np.float32(8000), 0,
    -1, 1, 8000.5, None, "8000", float("nan"), float("inf"), 10**9, 10**20, True, [8000], 3,
)  # fmt: skip


# Seconds for a tenth of a second of sound.
_LIMIT_S = 10.0


def case(draw: random.Random, folder: Path, material: Material) -> Iterator[str]:
    described: list[str] = []

    def call() -> int:
        # One child does several: loading the model takes most of the time.
        from lqsep import Separator

        separator = Separator.from_pretrained(material.model, device="cpu")
        for _ in range(25):
            _separate(separator, draw, described)
        return 0

    done = run_child(call, folder, name="Separator.separate", limit_s=120)

    def complaints() -> Iterator[str]:
        yield from invariants.ended_well(done, codes=(0,), most_lines=100)
        yield from done.out.splitlines()
        yield from invariants.empty(folder / "tmp")

    yield from invariants.about(done, complaints())


def _separate(separator: Any, draw: random.Random, described: list[str]) -> None:
    """Prints what is wrong."""
    from lqsep.core.errors import LqsepError

    wave, name = _array(draw)
    rate = draw.choice(_RATES)
    seed = draw.choice((0, 0, 0, 1, 2**63, -1, 1.5, None, 2**200, True))
    what = f"{name} at {rate!r} Hz, seed {seed!r}"
    started = time.monotonic()
    before = wave.clone() if isinstance(wave, torch.Tensor) else np.array(wave, copy=True)
    try:
        found = separator.separate((wave, rate), seed=seed)
    except LqsepError as error:
        if "\n" in str(error) or len(str(error)) > 600:
            print(f"{what}: a long message: {str(error)[:200]!r}")
        return
    except Exception as error:
        print(f"{what}: {type(error).__name__}: {str(error)[:300]}")
        return
    if (seconds := time.monotonic() - started) > _LIMIT_S:
        print(f"{what}: took {seconds:.1f} s")
    same = np.array_equal(np.asarray(_plain(before)), np.asarray(_plain(wave)), equal_nan=True)
    if not same:
        print(f"{what}: the array was changed")
    size = np.shape(_plain(wave))[-1]
    for source, stem in found.stems.items():
        if stem.dtype != np.float32 or stem.ndim != 2 or stem.shape[1] != size:
            print(f"{what}: {source} has {stem.dtype} {stem.shape}")
        if not np.isfinite(stem).all():
            print(f"{what}: {source} is not finite")


def _plain(wave: Any) -> Any:
    if isinstance(wave, torch.Tensor):
        return wave.detach().float().cpu().numpy()
    return np.asarray(wave)


def _array(draw: random.Random) -> tuple[Any, str]:
    shape = draw.choice(_SHAPES)
    generator = np.random.default_rng(draw.randrange(1000))
    values = np.asarray(0.1 * generator.standard_normal(shape))
    name = f"shape {shape}"
    if draw.random() < 0.3 and values.size:
        special = draw.choice(_SPECIAL)
        values.flat[draw.randrange(values.size)] = special
        name += f" with {special}"
    if draw.random() < 0.3:
        dtype = draw.choice(_TORCH)
        scale = 1 if dtype.is_floating_point or dtype.is_complex else 100
        tensor = torch.from_numpy(np.asarray(values * scale)).nan_to_num(0, 1e4, -1e4).to(dtype)
        if draw.random() < 0.3 and tensor.is_floating_point():
            tensor.requires_grad_()
        if draw.random() < 0.2 and tensor.ndim == 2:
            tensor = tensor.t()
        return tensor, f"torch {dtype} {name}"
    dtype = draw.choice(_DTYPES)
    with np.errstate(all="ignore"):
        try:
            kind = np.dtype(dtype).kind
            array = (values if kind in "fcOU" else np.nan_to_num(values * 100)).astype(dtype)
        except (TypeError, ValueError):
            array = values.astype(np.float32)
    form = draw.choice(
        ("as is", "reversed", "transposed", "strided", "read-only", "list", "masked")
    )
    if form == "reversed":
        array = array[..., ::-1] if array.ndim else array
    elif form == "transposed":
        array = array.T
    elif form == "strided":
        array = np.repeat(array, 2, -1)[..., ::2] if array.ndim else array
    elif form == "read-only":
        array = np.array(array)
        array.flags.writeable = False
    elif form == "list":
        return array.tolist(), f"list of {dtype} {name}"
    elif form == "masked":
        return np.ma.masked_invalid(array) if array.dtype.kind == "f" else array, f"masked {name}"
    return array, f"{form} {dtype} {name}"
