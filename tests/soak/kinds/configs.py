"""Damaged configurations: checked, shown and used."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tests.soak import invariants
from tests.soak.children import run_lqsep
from tests.soak.material import Material
from tests.soak.mutation import write_damaged_text

_SAMPLERS = (
    '[sampler]\ntype = "ancestral"\ntemperature = 1.0\ntop_k = 0\ntop_p = 1.0\nn_candidates = 2\n',
    '[sampler]\ntype = "beam"\nbeam_width = 4\n',
    '[sampler]\ntype = "smc"\nn_candidates = 4\n',
    '[sampler]\ntype = "rejection"\nn_candidates = 2\n',
)
_SELECTORS = ('"mean"', '"best"', '"rejection"')
_TRAINING = """
[data.train]
type = "synthetic"
n_tracks = 2
duration_s = 1.0
sample_rate = 8000
seed = 1
[train.codec]
steps = 1
batch_size = 2
clip_samples = 2048
learning_rate = 1e-3
warmup_steps = 1
validate_every = 1
[train.prior]
steps = 1
batch_size = 1
versions = 1
"""


def text_of(material: Material, draw: random.Random) -> str:
    """A valid configuration whose weights are the model's."""
    text = (material.model / "model.toml").read_text()
    text = text.replace("version = 1\n", f'version = 1\nweights = "{material.model}"\n', 1)
    head, _, rest = text.partition("[sampler]")
    _, _, rest = rest.partition("[selector]")
    selector = f"[selector]\ntype = {draw.choice(_SELECTORS)}\n"
    rest = rest.partition("[[refiners]]")[2]
    return f"{head}{draw.choice(_SAMPLERS)}\n{selector}\n[[refiners]]{rest}{_TRAINING}"


def case(draw: random.Random, folder: Path, material: Material) -> Iterator[str]:
    place = folder / "place"
    place.mkdir()
    path, out = place / "damaged.toml", folder / "out"
    path.write_bytes(write_damaged_text(text_of(material, draw), draw))
    before = invariants.snapshot(place)
    kind = draw.choice(("check", "separate", "separate", "train"))
    if kind == "check":
        command = ["config", "check", path]
    elif kind == "separate":
        command = ["separate", material.good, "--config", path, "-o", out, "-d", "cpu", "--json"]
    else:
        command = ["train", draw.choice(("codec", "prior")), "--config", path, "-o", out]
        command += ["-d", "cpu", "--dry-run"]
        if command[1] == "prior":
            out.mkdir()
            for weights in material.model.glob("codec.safetensors"):
                (out / weights.name).write_bytes(weights.read_bytes())
    kept = invariants.snapshot(out) if kind == "train" and out.exists() else {}
    done = run_lqsep(command, folder, limit_s=60)

    def complaints() -> Iterator[str]:
        yield from invariants.ended_well(done, most_lines=16)
        yield from invariants.unchanged(before, invariants.snapshot(place), "its folder")
        yield from invariants.no_leftovers(folder)
        yield from invariants.empty(folder / "tmp")
        if kind == "separate":
            yield from invariants.tracks_told(done, out / "damaged")
            yield from invariants.results_whole(out / "damaged")
        elif kind == "train" and (kept or out.exists()):
            yield from invariants.unchanged(kept, invariants.snapshot(out), "a dry run's folder")

    yield from invariants.about(done, complaints())
