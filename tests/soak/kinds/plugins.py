"""Components of a third party that misbehave: one line that names the plugin, nothing half done."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.soak import invariants
from tests.soak.children import run_child
from tests.soak.material import Material

_METHODS = {
    "codec": ("codebook_size", "analyse", "encode", "embed", "decode"),
    "prior": ("start", "step", "select", "transition_matrix"),
    "likelihood": ("bind",),
}
_FAULTS = (
    "raise ValueError('a bug')", "raise ValueError('a bug\\nof two lines')", "raise SystemExit(0)",
    "raise SystemExit('bye')", "raise KeyError('x')", "raise RecursionError()",
    "raise MemoryError()", "raise OSError(28, 'No space left on device')", "raise StopIteration()",
    "raise GeneratorExit()", "print('noise'); return found",
    "import warnings; warnings.warn('careful'); return found",
    "import sys; sys.stderr.write('noise\\n'); return found", "return None", "return 'text'",
    "return cut(found)", "return spoilt(found)", "import os; os.chdir('/'); return found",
    "import logging; logging.warning('noise'); return found",
    "raise type('Own', (Exception,), {'__str__': lambda self: 1 / 0})()",
)  # fmt: skip
_PLACES = ("module", "hook", "factory", "method", "method", "method", "method")

_ENTRY = "[lqsep]\nsoak = lqsep_soak\n"
_METADATA = "Metadata-Version: 2.1\nName: lqsep-soak\nVersion: 1.5\n"

_DECLARES = """
from lqsep import ComponentConfig, ComponentSpec, Kind, hookimpl
{module}

class Config(ComponentConfig):
    type: str = "soak"


@hookimpl
def lqsep_components():
    found = [
        ComponentSpec(kind=kind, name="soak", config=Config,
                      factory=f"lqsep_soak_made:build_{{kind}}",
                      summary=f"Soak {{kind}}", api_version=1)
        for kind in (Kind.CODEC, Kind.PRIOR, Kind.LIKELIHOOD)
    ]
    {hook}
    return found
"""

_MADE = """
import dataclasses

import torch

from lqsep.testing.toys import AddingCodec, AddingLikelihood, random_markov_prior


def cut(found):
    if isinstance(found, torch.Tensor):
        return found[..., :-1] if found.ndim else found[None]
    if isinstance(found, tuple):
        return found[:1]
    return found + 1 if isinstance(found, int) else found


def spoilt(found):
    if isinstance(found, torch.Tensor):
        return found * float("nan") if found.is_floating_point() else found - 1000
    if isinstance(found, tuple):
        return tuple(map(spoilt, found))
    return -found if isinstance(found, int) else found


def faulty(component, method):
    if method is None:
        return component
    calls = []

    def call(self, *arguments, **options):
        found = getattr(super(kind, self), method)(*arguments, **options)
        calls.append(1)
        if len(calls) < {calls}:
            return found
        {fault}

    kind = type("Faulty", (type(component),), {{method: call}})
    component.__class__ = kind
    return component


def build_codec(config, context):
    found = faulty(AddingCodec((0.0, 0.1, 0.35)), {codec!r})
    {factory}
    return found


def build_prior(config, context):
    generator = torch.Generator().manual_seed(1)
    return faulty(random_markov_prior(3, generator), {prior!r})


def build_likelihood(config, context):
    return faulty(AddingLikelihood(context.codec, 0.01), {likelihood!r})
"""

_MODEL = """
version = 1
[codec]
type = "soak"
[sources.drums]
gain = 0.8
prior = { type = "soak" }
[sources.bass]
gain = 0.2
prior = { type = "soak" }
[likelihood]
type = "soak"
[sampler]
type = "SAMPLER"
[selector]
type = "best"
[pipeline]
segment = 0.1
"""


def case(draw: random.Random, folder: Path, material: Material) -> Iterator[str]:
    plugin, model, out = folder / "plugin", folder / "model", folder / "out"
    place = draw.choice(_PLACES)
    fault = draw.choice(_FAULTS)
    _write_plugin(plugin, place, fault, draw)
    model.mkdir()
    sampler = draw.choice(("ancestral", "beam", "forward-backward"))
    (model / "model.toml").write_text(_MODEL.replace("SAMPLER", sampler))
    words = ["separate", material.good, "-n", model, "-o", out, "-d", "cpu", "--json"]
    if draw.random() < 0.15:
        words = draw.choice((["components"], ["doctor"], ["config", "check", model], ["--help"]))
    before = invariants.snapshot(folder, without=(out,))

    def call() -> int:
        from lqsep.cli.main import run

        sys.path.insert(0, str(plugin))
        os.environ["PYTHONPATH"] = f"{plugin}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        return run([str(word) for word in words])

    name = f"lqsep {words[0]}, in {place}: {fault}"
    done = run_child(call, folder, name=name, limit_s=60)

    def complaints() -> Iterator[str]:
        # A bug of a plugin may show its traceback; that it is the plugin's must be said.
        # What one prints for every call is as much as it likes.
        most_lines = 10_000 if "stderr" in fault else 60
        faults = [*invariants.ended_well(done, most_lines=most_lines)]
        yield from (fault for fault in faults if "Traceback" not in fault)
        yield from invariants.no_leftovers(folder)
        yield from invariants.empty(folder / "tmp")
        after = invariants.snapshot(folder, without=(out, folder / "tmp"))
        own = ("stdout", "stderr", "__pycache__")
        after = {name: found for name, found in after.items() if not any(w in name for w in own)}
        yield from invariants.unchanged(before, after, "the case's folder")
        if words[0] == "separate":
            yield from invariants.tracks_told(done, out / "model")
            yield from invariants.results_whole(out / "model")

    yield from invariants.about(done, complaints())


def _write_plugin(folder: Path, place: str, fault: str, draw: random.Random) -> None:
    kind = draw.choice(list(_METHODS))
    method = draw.choice(_METHODS[kind])
    methods = {name: method if name == kind and place == "method" else None for name in _METHODS}
    # Only a function returns.
    plain = fault.replace("; return found", "") if "return" in fault else fault
    module = "pass" if plain.startswith("return") else plain
    information = folder / "lqsep_soak-1.5.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(_METADATA)
    (information / "entry_points.txt").write_text(_ENTRY)
    hook = fault if place == "hook" and "(found)" not in fault else "pass"
    text = _DECLARES.format(module=module if place == "module" else "", hook=hook)
    (folder / "lqsep_soak.py").write_text(text)
    made = _MADE.format(
        calls=draw.choice((1, 1, 2, 5)),
        fault=fault,
        factory=fault if place == "factory" else "pass",
        **methods,
    )
    (folder / "lqsep_soak_made.py").write_text(made)
