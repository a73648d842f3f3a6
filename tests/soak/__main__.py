"""``python -m tests.soak``: what lqsep does with what goes wrong, for as long as there is time.

Not part of the tests: it draws its cases, and runs until its minutes are over.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.soak.children import import_everything  # noqa: E402
from tests.soak.material import Material  # noqa: E402
from tests.soak.table import KINDS  # noqa: E402


def main() -> int:
    """Run the campaign; 1 with findings."""
    arguments = _parser().parse_args()
    kinds = arguments.only or list(KINDS)
    spent: Counter[str] = Counter({kind: 0 for kind in kinds})
    cases: Counter[str] = Counter({kind: 0 for kind in kinds})
    findings: list[dict[str, object]] = []
    import_everything()
    with tempfile.TemporaryDirectory(prefix="lqsep-soak-") as folder:
        material = Material(Path(folder) / "material")
        material.make()
        deadline = time.monotonic() + 60 * arguments.minutes
        number = 0 if arguments.case is None else arguments.case
        while time.monotonic() < deadline:
            # The one that had the least time.
            kind = min(kinds, key=lambda name: spent[name])
            if arguments.case is None:
                number = cases[kind]
            started = time.monotonic()
            complaints = run_case(kind, arguments.seed, number, Path(folder) / "case", material)
            spent[kind] += time.monotonic() - started
            cases[kind] += 1
            if complaints:
                findings.append(
                    {"kind": kind, "seed": arguments.seed, "case": number, "complaints": complaints}
                )
                _tell(kind, arguments.seed, number, complaints)
            if arguments.case is not None:
                if arguments.keep:
                    shutil.copytree(Path(folder), arguments.keep, symlinks=True)
                break
    return _summarise(arguments, cases, spent, findings)


def run_case(kind: str, seed: int, number: int, folder: Path, material: Material) -> list[str]:
    """Run one case in a folder of its own, which is removed before the next one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    draw = random.Random(f"{seed}/{kind}/{number}")
    return list(KINDS[kind](draw, folder, material))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", action="append", choices=list(KINDS), metavar="KIND", help=", ".join(KINDS)
    )
    parser.add_argument("--case", type=int, help="this one alone, of one kind")
    parser.add_argument("--keep", type=Path, help="with --case: copy its files to this new folder")
    parser.add_argument("--json", type=Path, help="write findings and numbers of cases to a file")
    return parser


def _tell(kind: str, seed: int, number: int, complaints: list[str]) -> None:
    print(f"FINDING {kind} seed {seed} case {number}")
    for complaint in complaints[:8]:
        print("    " + complaint.replace("\n", "\n    "))
    print(
        f"    again: python -m tests.soak --only {kind} --seed {seed} --case {number}", flush=True
    )


def _summarise(
    arguments: argparse.Namespace,
    cases: Counter[str],
    spent: Counter[str],
    findings: list[dict[str, object]],
) -> int:
    found = Counter(finding["kind"] for finding in findings)
    print(f"{'kind':12}{'cases':>8}{'seconds':>9}{'findings':>10}")
    for kind, number in cases.items():
        print(f"{kind:12}{number:8}{spent[kind]:9.0f}{found[kind]:10}")
    print(f"seed {arguments.seed}: {sum(cases.values())} cases, {len(findings)} findings")
    if arguments.json is not None:
        document = {"seed": arguments.seed, "cases": cases, "findings": findings}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
