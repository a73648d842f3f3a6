"""Damaged checkpoints of LQVAE-separation for ``lqsep models import jukebox``."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tests.soak import invariants
from tests.soak.children import run_lqsep
from tests.soak.material import Material
from tests.soak.mutation import damaged

_VALUES: tuple[Any, ...] = (
    0, 1, -1, 2**31, 2**70, 1e300, float("nan"), None, "x", "", [], (), {}, True, (1, 2),
    [1.5], 3, b"x",
)  # fmt: skip


def case(draw: random.Random, folder: Path, material: Material) -> Iterator[str]:
    given, out = folder / "given", folder / "out"
    shutil.copytree(material.exported, given)
    path = draw.choice(sorted(given.iterdir()))
    if draw.random() < 0.5:
        path.write_bytes(damaged(path.read_bytes(), draw, header=draw.choice((64, 600, 4000))))
    else:
        content = torch.load(path, weights_only=True)
        for _ in range(draw.choice((1, 1, 2))):
            content = _changed(content, draw)
        torch.save(content, path, _use_new_zipfile_serialization=draw.random() < 0.8)
    before = invariants.snapshot(given)
    command: list[object] = ["models", "import", "jukebox", "--codec", given / "codec.pth.tar"]
    for source in ("drums", "bass"):
        command += ["--prior", f"{source}={given}/prior.{source}.pth.tar"]
    if (given / "codebook_sums.pt").exists() and draw.random() < 0.8:
        command += ["--sums", given / "codebook_sums.pt"]
    done = run_lqsep([*command, "-o", out, "-d", "cpu"], folder, limit_s=60)
    used = done
    if done.code == 0:
        separate = ["separate", material.good, "-n", out, "-o", folder / "results", "-d", "cpu"]
        used = run_lqsep([*separate, "--json"], folder, limit_s=60)

    def complaints() -> Iterator[str]:
        yield from invariants.ended_well(done, codes=(0, 2, 3))
        yield from invariants.unchanged(before, invariants.snapshot(given), "checkpoints")
        yield from invariants.no_leftovers(folder)
        yield from invariants.empty(folder / "tmp")
        if done.code != 0 and out.exists():
            yield "a failed import left its folder"

    yield from invariants.about(done, complaints())
    if used is not done:
        yield from invariants.about(used, invariants.ended_well(used))
        yield from invariants.about(used, invariants.results_whole(folder / "results" / "out"))


def _changed(content: Any, draw: random.Random) -> Any:
    if isinstance(content, torch.Tensor):
        return _changed_tensor(content, draw)
    if not isinstance(content, dict) or not content:
        return draw.choice(_VALUES)
    key = draw.choice(list(content))
    kind = draw.choice(("inside", "inside", "inside", "drop", "value", "rename"))
    found = dict(content)
    if kind == "inside":
        found[key] = _changed(content[key], draw)
    elif kind == "drop":
        del found[key]
    elif kind == "value":
        found[key] = draw.choice(_VALUES)
    else:
        found[draw.choice(("x", 3, f"module.{key}", ""))] = found.pop(key)
    return found


def _changed_tensor(tensor: torch.Tensor, draw: random.Random) -> Any:
    kind = draw.choice(
        ("nan", "inf", "big", "half", "long", "shape", "empty", "flat", "complex", "view")
    )
    if kind in ("nan", "inf", "big") and tensor.is_floating_point() and tensor.numel():
        tensor = tensor.clone()
        tensor.view(-1)[draw.randrange(tensor.numel())] = {"big": 1e30}.get(
            kind, float(kind[:3]) if kind != "big" else 0
        )
        return tensor
    if kind == "half":
        return tensor.half()
    if kind == "long":
        return tensor.long()
    if kind == "shape":
        return tensor[: len(tensor) // 2] if tensor.ndim else tensor[None]
    if kind == "empty":
        return tensor.new_zeros((0,))
    if kind == "complex":
        return tensor.to(torch.complex64)
    if kind == "view":
        return tensor.unsqueeze(0).expand(1000, *tensor.shape)
    return tensor.flatten()
