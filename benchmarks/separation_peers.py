"""One recording separated by this build, by other builds and by other separators, in turn.

::

    python benchmarks/separation_peers.py --json peers.json --build before=../lqsep-before \\
        --peers-env ~/.cache/lqsep-peers

Seconds by the clock and of the processor and the peak of memory, of whole commands: importing,
loading the model and writing count. Every round runs each of them once per number of threads
(``OMP_NUM_THREADS``), one after the other, in an order that rotates. ``--build NAME=FOLDER`` is
another checkout of lqsep, run by the same interpreter; ``lqsep`` is the one that this file is in.

With ``--peers-env`` the peers ``htdemucs`` and ``openunmix`` take part. They are installed into
that virtual environment once, in versions that `_peers.py` names; one that cannot be installed or
run is told and left out. Their weights are random and they give four stems instead of two, so
that nothing but time and memory can be compared.

The recording is one minute at 44.1 kHz in stereo, made of the example mixture as
`separation_speed.py` does it, or the file that is given, as it is. A table is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import soundfile
from _peers import PEERS, WEIGHTS, install, separation, versions
from _processes import Command, CommandError, measured, medians, run_in_turn, times_of
from _timing import arguments, commit, machine, write
from separation_speed import example, long_mixture

THIS = "lqsep"
_ROOT = Path(__file__).parents[1]

# Makes the command of a way: recording, folder of the stems.
Way = Callable[[Path, Path], Command]


def build(text: str) -> tuple[str, Path]:
    """Name and folder of ``NAME=FOLDER``.

    Raises:
        ArgumentTypeError: It has another form, the name is taken, or lqsep is not in the folder.
    """
    name, equals, folder = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER, got {text!r}")
    if name in (THIS, *(peer.name for peer in PEERS)):
        raise argparse.ArgumentTypeError(f"{name!r} names something else here; choose another")
    if not (Path(folder) / "lqsep" / "__main__.py").is_file():
        raise argparse.ArgumentTypeError(f"{folder}: expected a checkout, with lqsep/__main__.py")
    return name, Path(folder).absolute()


def separate(checkout: Path, model: str, recording: Path, out: Path) -> Command:
    """`lqsep separate` of a checkout. Where it runs must not be another: that would come first."""
    words = (sys.executable, "-m", "lqsep", "-q", "separate", str(recording), "-n", model)
    return Command((*words, "-o", str(out)), {"PYTHONPATH": str(checkout)})


def facts(checkout: Path) -> dict[str, Any]:
    """Version and commit of a build.

    Raises:
        SystemExit: Python finds lqsep in another place.
    """
    code = "import json, lqsep; print(json.dumps([lqsep.__file__, lqsep.__version__]))"
    command = separate(checkout, "", Path(), Path())
    with tempfile.TemporaryDirectory() as away:
        said = subprocess.run(
            [sys.executable, "-c", code],
            cwd=away,
            env={**os.environ, **command.environment},
            capture_output=True,
            text=True,
        )
    if said.returncode:
        sys.exit(f"{checkout}: lqsep cannot be imported: {said.stderr.splitlines()[-1]}")
    file, version = json.loads(said.stdout)
    if Path(file).parents[1] != checkout:
        sys.exit(f"{checkout}: Python imports {file} instead; is PYTHONPATH ignored?")
    return {"version": version, "commit": commit(checkout)}


def measure(
    ways: Mapping[str, Way], recording: Path, threads: int, rounds: int, folder: Path
) -> dict[str, Any]:
    """All ways in turn on some threads, and how many times that of this build each needs."""
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)

    def run(way: str, number: int) -> dict[str, float]:
        with tempfile.TemporaryDirectory(dir=folder) as stems:
            command = ways[way](recording, Path(stems) / "stems")
            try:
                return measured(command, threads, empty)
            except CommandError as error:
                raise SystemExit(f"{way} failed in round {number + 1}: {error}") from error

    found = medians(run_in_turn(list(ways), rounds, run))
    return {"threads": threads, "ways": found, "ratio": times_of(found, THIS)}


def table(result: Mapping[str, Any]) -> str:
    """Medians of every way, and in brackets how many times those of this build."""
    names = [name for one in result["results"] for name in one["ways"]]
    width = max(map(len, names))
    lines = [f"{'':{width}}  threads  {'seconds':>15}  {'processor s':>15}  {'memory, MB':>15}   n"]
    for one in result["results"]:
        for name, found in one["ways"].items():
            ratio = one["ratio"][name]
            cells = [
                f"{found[figure] / scale:7.{digits}f} ({ratio[figure]:5.2f})"
                for figure, scale, digits in (
                    ("seconds", 1, 2),
                    ("processor_seconds", 1, 2),
                    ("peak_memory_bytes", 1e6, 0),
                )
            ]
            cells = [f"{cell:>15}" for cell in cells]
            row = f"{name:{width}}  {one['threads']:7}  {'  '.join(cells)}  {found['n']:2}"
            lines.append(row)
    lines += [f"{name} is left out: {why}" for name, why in result["left_out"].items()]
    return "\n".join(lines)


def peers(options: argparse.Namespace, recording: Path, folder: Path) -> tuple[dict, dict, dict]:
    """Those that are there and run: their ways, what they are; and why others are left out."""
    ways: dict[str, Way] = {}
    described: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for peer in PEERS if options.peers_env else ():
        environment = options.peers_env.absolute()
        settings = options.htdemucs if peer.name == "htdemucs" else {}
        why = install(peer, environment)
        if why is None:
            way = partial(separation, peer, environment, settings=settings)
            try:
                measured(way(recording, folder / f"tried-{peer.name}"), max(options.threads))
            except CommandError as error:
                why = str(error)
        if why is not None:
            left_out[peer.name] = why
            continue
        ways[peer.name] = way
        package = peer.requirements[0].partition("==")[0]
        described[peer.name] = {
            **versions(environment, [package, "torch"]),
            "settings": peer.settings,
            "changed_settings": settings,
            "weights": WEIGHTS,
        }
    return ways, described, left_out


def parsed() -> argparse.Namespace:
    parser = arguments(__doc__.splitlines()[0])
    parser.set_defaults(rounds=3)
    parser.add_argument("--recording", type=Path, help="[a minute made of the example mixture]")
    parser.add_argument("--seconds", type=float, default=60, help="of what is made [60]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="[1 2]")
    parser.add_argument("--model", default="drums-bass", help="of all builds [drums-bass]")
    parser.add_argument("--build", type=build, action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--peers-env", type=Path, help="virtual environment of the peers, kept")
    parser.add_argument(
        "--htdemucs", type=json.loads, default={}, help="other arguments of HTDemucs, as JSON"
    )
    options = parser.parse_args()
    if len({name for name, _ in options.build}) < len(options.build):
        parser.error("--build: every build needs a name of its own")
    if options.recording is not None:
        found = soundfile.info(options.recording)
        if options.peers_env and (found.samplerate, found.channels) != (44_100, 2):
            parser.error(
                f"{options.recording}: the peers expect 44100 Hz in stereo, got "
                f"{found.samplerate} Hz and {found.channels} channels"
            )
    return options


def main() -> None:
    options = parsed()
    builds = {THIS: _ROOT.absolute(), **dict(options.build)}
    described: dict[str, Any] = {name: facts(folder) for name, folder in builds.items()}
    ways: dict[str, Way] = {
        name: partial(separate, folder, options.model) for name, folder in builds.items()
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = options.recording and options.recording.absolute()
        if recording is None:
            recording = folder / "recording.wav"
            long_mixture(example(), recording, options.seconds)
        short = folder / "short.wav"
        long_mixture(example(), short, 1)
        others, what, left_out = peers(options, short, folder)
        ways |= others
        results = [
            measure(ways, recording, threads, options.rounds, folder) for threads in options.threads
        ]
        audio_s = soundfile.info(recording).duration
    result = {
        "benchmark": "separation_peers",
        "machine": machine(),
        "settings": {
            "recording": recording.name if options.recording else "the example mixture, repeated",
            "audio_s": audio_s,
            "model": options.model,
            "rounds": options.rounds,
        },
        "ways": described | what,
        "left_out": left_out,
        "results": results,
    }
    write(result, options.json)
    print(table(result))


if __name__ == "__main__":
    main()
