"""The figures of docs/results.md: `lqsep evaluate` on every test set, then its page.

    python benchmarks/results.py data/results results --evaluate drums-bass --page docs/results.md

`results_data.py` makes the test sets. Every model is evaluated on every set into a folder of its
own, ``RESULTS/SET/MODEL``, and goes on there when interrupted; results of other sounds are not
kept. Models that are not named stay as they are. Baselines and oracles are computed once, with
`drums-bass-lqvae`. Without ``--evaluate`` only the page is written, between its two markers.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _page import write_between
from _timing import machine, write
from results_read import BASELINES_WITH, DIGEST_FILE, MODELS, data_digest, digest_of, read_set
from results_tables import figures

# All models are given the same mixtures, whatever gains they were trained with.
_FIXED = ["--split", "test", "--protocol", "track-sdr", "--examples", "0"]
_GAINS = ["--gain", "drums=0.5", "--gain", "bass=0.5"]

# As they stand in commands for people to read, whatever the folders' names are here.
_SHOWN_DATA, _SHOWN_RESULTS = Path("data/results"), Path("results")

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that results_data.py wrote")
    parser.add_argument("results", type=Path, help="folder of the results of all runs")
    parser.add_argument("--evaluate", action="append", default=[], metavar="MODEL", choices=MODELS)
    parser.add_argument("--sets", help="names with commas in between; default: all")
    parser.add_argument("--tracks", type=int, help="the first N of each set only")
    parser.add_argument("--jobs", type=int, default=1, help="tracks worked on at a time [1]")
    parser.add_argument("--force", action="store_true", help="start over: model or data changed")
    parser.add_argument("--page", type=Path, help="Markdown file with markers to write between")
    options = parser.parse_args()
    description = json.loads((options.data / "sets.json").read_text(encoding="utf-8"))
    chosen = options.sets.split(",") if options.sets else [s["name"] for s in description["sets"]]
    for model in options.evaluate:
        write(machine(), options.results / f"{model}.machine.json")
        for name in chosen:
            evaluate(options, name, model)
    if options.page is not None:
        write_page(options, description)


def evaluate(options: argparse.Namespace, name: str, model: str) -> None:
    """One model on one set; from the start where the set has changed."""
    print(f"{name}, {model}", flush=True)
    out = options.results / name / model
    known, found = data_digest(out), digest_of(options.data / name)
    command = evaluate_command(options.data, options.results, name, model)
    if options.force or known not in (None, found):
        command.append("--force")
    if options.tracks is not None:
        command += ["--tracks", str(options.tracks)]
    write({"sha256": found}, out / DIGEST_FILE)
    command += ["--jobs", str(options.jobs)]
    done = subprocess.run([sys.executable, "-m", *command], stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{name}, {model}: {shlex.join(command)} failed, as told above")


def evaluate_command(data: Path, results: Path, name: str, model: str) -> list[str]:
    baselines = "--baselines" if model == BASELINES_WITH else "--no-baselines"
    out = results / name / model
    fixed = [*_FIXED, *_GAINS, baselines, "-n", model, "-o", str(out)]
    return ["lqsep", "evaluate", str(data / name), *fixed]


def write_page(options: argparse.Namespace, description: Mapping[str, Any]) -> None:
    """Replace what is between the markers of a page."""
    found = [read_set(options.results, s["name"], s["title"]) for s in description["sets"]]
    sets = [results for results in found if results is not None]
    if not sets:
        sys.exit(f"{options.results}: no results of lqsep evaluate; give --evaluate")
    machines = {
        model: json.loads(path.read_text(encoding="utf-8"))
        for model in MODELS
        if (path := options.results / f"{model}.machine.json").is_file()
    }
    text = figures(sets, machines) + "\n\n" + commands(description)
    write_between(options.page, BEGIN, END, text)


def commands(description: Mapping[str, Any]) -> str:
    """All of them, in two blocks."""
    rendering = [line for one in description["sets"] for line in one["commands"]]
    models = " ".join(f"--evaluate {model}" for model in MODELS)
    evaluating = [
        shlex.join(evaluate_command(_SHOWN_DATA, _SHOWN_RESULTS, one["name"], model))
        for model in MODELS
        for one in description["sets"]
    ]
    both = f"python benchmarks/results.py {_SHOWN_DATA} {_SHOWN_RESULTS} {models}"
    return "\n".join(
        [
            "## Commands",
            "",
            "The test sets, all by one command and, of those that are rendered, what it calls:",
            "",
            *("```sh", description["command"], "", *rendering, "```", ""),
            "The figures, likewise:",
            "",
            *("```sh", f"{both} --page docs/results.md", "", *evaluating, "```"),
        ]
    )


if __name__ == "__main__":
    main()
