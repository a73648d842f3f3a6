"""Every benchmark that needs neither other separators nor anything fetched, one after the other.

::

    python benchmarks/all.py             # about ten minutes on two quiet cores
    python benchmarks/all.py --quick     # tiny sizes: that all of them run, nothing else

Each is a process of its own with one thread. Its result is a JSON file in ``benchmarks/out``;
``run.json`` there has the date, the commit, and what each took. The figures are put into
docs/performance.md, between its two markers, if none has failed; with ``--quick`` only into a page
that is named.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

from _measured import table
from _page import parts, write_between
from _processes import Command, CommandError, measured
from _timing import commit, write

BEGIN, END = "<!-- measured -->", "<!-- end -->"

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parent


class Step(NamedTuple):
    """A script, and its arguments at full size and at a tiny one."""

    name: str
    script: str
    full: str
    quick: str


_SMALL = "--codes=64 --dim=8 --rounds=1"

STEPS = (
    Step("codebook_sums", "codebook_sums", "--pairs=500 --rounds=2", f"--pairs=20 {_SMALL}"),
    Step(
        "posterior_step",
        "posterior_step",
        "--candidates=16 --rounds=2",
        f"--candidates=3 {_SMALL}",
    ),
    Step("samplers", "samplers", "--rounds=3", _SMALL),
    Step("likelihoods", "likelihoods", "--rounds=5", f"--hypotheses=2 {_SMALL}"),
    Step(
        "forward_backward",
        "forward_backward",
        "--rounds=3",
        "--codes=8 --frames=60 --draws=2 --rounds=1",
    ),
    Step(
        "evaluation_metrics",
        "evaluation_metrics",
        "--candidates=4 --rounds=3",
        "--candidates=1 --rounds=1",
    ),
    Step(
        "separation_speed",
        "separation_speed",
        "--lengths=20,60 --threads=1 --rounds=3",
        "--lengths=1 --threads=1 --rounds=1",
    ),
    Step(
        "separation_speed_lqvae",
        "separation_speed",
        "--model=drums-bass-lqvae --lengths=20 --threads=1 --rounds=2",
        "--model=drums-bass-lqvae --lengths=0.5 --threads=1 --rounds=1",
    ),
    Step(
        "train_throughput",
        "train_throughput",
        "--size=tiny --device=cpu --rounds=3",
        "--size=tiny --device=cpu --steps=1 --rounds=1",
    ),
)


def run(step: Step, out: Path, *, quick: bool) -> dict[str, float] | None:
    """What a script took; None, after a line that says why, if it failed."""
    arguments = (step.quick if quick else step.full).split()
    result = out / f"{step.name}.json"
    result.unlink(missing_ok=True)  # an older one is not taken for this one's
    words = (sys.executable, str(_HERE / f"{step.script}.py"), *arguments, f"--json={result}")
    # This checkout is what is measured, wherever it is started and whatever is installed.
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    try:
        took = measured(Command(words, {"PYTHONPATH": path}), 1, _ROOT)
        print(f"{step.name:24}{took['seconds']:7.1f} s", flush=True)
        return took
    except CommandError as error:
        print(f"{step.name:24} failed: {error}", flush=True)
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--out", type=Path, default=_HERE / "out", help="[benchmarks/out]")
    parser.add_argument("--page", type=Path, help="[docs/performance.md, with --quick none]")
    options = parser.parse_args()
    page = options.page or (None if options.quick else _ROOT / "docs" / "performance.md")
    if page is not None:
        parts(page, BEGIN, END)  # before any work
    out = options.out.absolute()
    date, revision = time.strftime("%Y-%m-%d", time.gmtime()), commit(_ROOT)
    took = {step.name: run(step, out, quick=options.quick) for step in STEPS}
    about = {"date": date, "commit": revision, "quick": options.quick, "took": took}
    write(about, out / "run.json")
    failed = [name for name, figures in took.items() if figures is None]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}. No page was written; results are in {out}")
    results = [
        json.loads((out / f"{step.name}.json").read_text(encoding="utf-8")) for step in STEPS
    ]
    if page is not None:
        write_between(page, BEGIN, END, table(results, date, revision))


if __name__ == "__main__":
    main()
