"""Damaged model directories: descriptions, weights and their headers, files that are no files."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.soak import invariants
from tests.soak.children import run_lqsep
from tests.soak.material import Material
from tests.soak.mutation import damaged, write_damaged_text

_COMMANDS = ("separate", "separate", "separate", "show", "verify", "check", "export", "sums")
_NUMBERS: tuple[Any, ...] = (0, 1, -1, 2**31, 2**63, 1e300, None, "x", [], {}, True, 3)


def case(draw: random.Random, folder: Path, material: Material) -> Iterator[str]:
    model, out = folder / "spoilt", folder / "out"
    shutil.copytree(material.model, model)
    _spoil(model, draw)
    kind = draw.choice(_COMMANDS)
    command: list[object] = {
        "separate": ["separate", material.good, "-n", model, "-o", out, "-d", "cpu", "--json"],
        "show": ["models", "show", model],
        "verify": ["models", "verify", model],
        "check": ["config", "check", model],
        "export": ["models", "export", "jukebox", model, "-o", out],
        "sums": ["sums", model, "-d", "cpu"],
    }[kind]
    before = invariants.snapshot(model)
    done = run_lqsep(command, folder, limit_s=60)

    def complaints() -> Iterator[str]:
        yield from invariants.ended_well(done, most_lines=16)
        yield from invariants.no_leftovers(folder)
        yield from invariants.empty(folder / "tmp")
        if kind != "sums" or done.code != 0:
            yield from invariants.unchanged(before, invariants.snapshot(model), "the model")
        if kind == "separate":
            yield from invariants.tracks_told(done, out / "spoilt")
            yield from invariants.results_whole(out / "spoilt")
        elif kind == "export" and done.code != 0 and out.exists():
            yield "a failed export left its folder"

    yield from invariants.about(done, complaints())


def _spoil(model: Path, draw: random.Random) -> None:
    description = model / "model.toml"
    weights = draw.choice(sorted(model.glob("*.safetensors")))
    kind = draw.choice(("toml", "toml", "bytes", "header", "header", "file", "swap"))
    if kind == "toml":
        description.write_bytes(write_damaged_text(description.read_text(), draw))
        return
    old = hashlib.sha256(weights.read_bytes()).hexdigest()
    if kind == "bytes":
        weights.write_bytes(damaged(weights.read_bytes(), draw, header=600))
    elif kind == "header":
        weights.write_bytes(_with_other_header(weights.read_bytes(), draw))
    elif kind == "swap":
        other = draw.choice(sorted(model.glob("*.safetensors")))
        weights.write_bytes(other.read_bytes())
    else:
        _replace(draw.choice((weights, weights, description)), draw)
        return
    if draw.random() < 0.7:
        # What is in the files is looked at only where their hash is right, or is not known.
        new = hashlib.sha256(weights.read_bytes()).hexdigest()
        text = description.read_text()
        if draw.random() < 0.7:
            text = text.replace(old, new)
        else:
            text = "\n".join(line for line in text.splitlines() if old not in line)
        description.write_text(text)


def _replace(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.unlink()
    kind = draw.choice(
        ("missing", "folder", "pipe", "null", "link", "loop", "nowhere", "secret", "zero")
    )
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("null", "zero"):
        path.symlink_to(f"/dev/{kind}")
    elif kind == "link":
        (path.parent / "real.bin").write_bytes(content)
        path.symlink_to("real.bin")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "nowhere":
        path.symlink_to("nowhere")
    elif kind == "secret":
        path.write_bytes(b"")


def _with_other_header(data: bytes, draw: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    rest = data[8 + size :]
    for _ in range(draw.choice((1, 1, 2))):
        name = draw.choice(sorted(header))
        entry = header[name]
        kind = draw.choice(("field", "field", "number", "number", "drop", "rename", "type"))
        if kind == "drop":
            del header[name]
        elif kind == "rename":
            header[draw.choice((name + "x", "", "__metadata__", "a" * 1000))] = header.pop(name)
        elif kind == "type" or not isinstance(entry, dict):
            header[name] = draw.choice(_NUMBERS)
        elif kind == "field":
            entry[draw.choice([*entry, "x"])] = draw.choice(
                (*_NUMBERS, "F16", "BF16", "I64", "F8_E4M3")
            )
        else:
            key = draw.choice(("shape", "data_offsets"))
            if isinstance(numbers := entry.get(key), list) and numbers:
                numbers[draw.randrange(len(numbers))] = draw.choice(_NUMBERS)
        if not header:
            break
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest
