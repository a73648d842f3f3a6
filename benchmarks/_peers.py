"""Other separators, in an environment of their own, with random weights.

Nothing but packages is fetched: a network's time does not depend on its weights.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from _processes import Command, last_line

WEIGHTS = "random weights: the time is that of the trained network with these settings"

# With a compiled extension that torchaudio does not find beside a CPU-only torch.
_TORCHAUDIO = Path(__file__).parents[1] / "lqsep" / "core" / "audio" / "_torchaudio.py"

# Another torch would be pulled in with its GPU packages, several GB of them; the peers themselves
# are installed without what they ask for, most of which training and downloads need.
_TORCH = ("torch==2.13.0", "torchaudio==2.11.0", "numpy==2.4.6", "soundfile==0.14.0")


class Peer(NamedTuple):
    """What is installed, without dependencies, and a program called with two paths.

    The program reads a recording at 44.1 kHz in stereo and writes stems to a folder. The first
    requirement is the peer itself.
    """

    name: str
    requirements: tuple[str, ...]
    settings: str
    program: str


_READ = """
import json, random, sys
from pathlib import Path
import soundfile, torch
random.seed(0); torch.manual_seed(0)
recording, out, settings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
wave, rate = soundfile.read(recording, dtype="float32", always_2d=True)
mixture = torch.from_numpy(wave.T.copy())
"""

_WRITE = """
out.mkdir(parents=True)
for name, stem in stems.items():
    soundfile.write(out / f"{name}.wav", stem.T.numpy(), rate)
"""

_DEMUCS = """
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs
model = HTDemucs(["drums", "bass", "other", "vocals"], **settings).eval()
mono = mixture.mean(0)
mean, level = mono.mean(), mono.std() + 1e-8
with torch.no_grad():
    found = apply_model(model, ((mixture - mean) / level)[None], shifts=1, overlap=0.25)[0]
stems = dict(zip(model.sources, found * level + mean))
"""

_OPENUNMIX = f"""
import runpy
runpy.run_path({str(_TORCHAUDIO)!r})["import_torchaudio"]()
import openunmix
separator = openunmix.umxl(pretrained=False, niter=1, **settings)
separator.freeze()
with torch.no_grad():
    found = separator.to_dict(separator(mixture[None]))
stems = {{name: stem[0] for name, stem in found.items()}}
"""

PEERS = (
    Peer(
        "htdemucs",
        ("demucs==4.1.0", "einops==0.8.2", "julius==0.2.8", "tqdm==4.70.1"),
        "HTDemucs as its class has it by default, four sources; apply_model as the command calls "
        "it: one random shift, overlap 0.25",
        _READ + _DEMUCS + _WRITE,
    ),
    Peer(
        "openunmix",
        ("openunmix==1.3.0", "tqdm==4.70.1"),
        "Separator of umxl: four targets, Wiener EM with niter=1 on 300 frames at a time",
        _READ + _OPENUNMIX + _WRITE,
    ),
)


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / "bin" / "python"


def install(peer: Peer, environment: Path) -> str | None:
    """Make the environment and install a peer, unless that was done before.

    Returns:
        Why it cannot be, in a line; None when it is there.
    """
    python = str(python_of(environment))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [[*pip, *_TORCH], [*pip, "--no-deps", *peer.requirements]]
    if not Path(python).exists():
        steps.insert(0, [sys.executable, "-m", "venv", str(environment)])
    elif _is_there(peer, environment):
        return None
    for step in steps:
        done = subprocess.run(step, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            return f"{' '.join(step[1:4])} failed: {last_line(done.stdout)}"
    return None


def _is_there(peer: Peer, environment: Path) -> bool:
    wanted = dict(text.split("==") for text in (*_TORCH, *peer.requirements))
    found = versions(environment, list(wanted))
    return all(found[name] == version for name, version in wanted.items())


def versions(environment: Path, packages: list[str]) -> dict[str, str | None]:
    """Of packages in an environment, without what stands behind a plus sign; None where missing."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "found = {d.name.lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({n: found.get(n, '').partition('+')[0] or None for n in sys.argv[1:]}))"
    )
    command = [str(python_of(environment)), "-c", code, *packages]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(said))


def separation(
    peer: Peer, environment: Path, recording: Path, out: Path, settings: dict[str, object]
) -> Command:
    """The command that separates a recording into a folder."""
    python = str(python_of(environment))
    words = (python, "-c", peer.program, str(recording), str(out), json.dumps(settings))
    # What is on this process's path is not the peers'.
    return Command(words, {"PYTHONPATH": ""})
