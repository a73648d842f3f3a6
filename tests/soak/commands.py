"""Commands that write something, for kinds that disturb them, and what is compared."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from tests.soak import invariants
from tests.soak.children import run_lqsep
from tests.soak.kinds import configs, midi, slakh
from tests.soak.material import Material, noise

# What an undisturbed run gives to the bit; reports have times in them.
_SOUND = {".wav", ".flac", ".ogg", ".mp3"}
_SAME = {*_SOUND, ".safetensors", ".npz", ".pt", ".tar", ".mid"}
_NOT_COMPARED = {"checkpoints", "codes", "logs"}


@dataclass(frozen=True)
class Command:
    """A command that can be disturbed and given again.

    Args:
        words: Of the command, for a folder to write in (there is nothing in it but what `prepare`
            puts there) and the material.
        prepare: Puts into that folder what must be there.
        again: Words to add when it goes on after a disturbance.
    """

    words: Callable[[Path, Material], list[object]]
    prepare: Callable[[Path, Material], None] = lambda place, material: None
    again: tuple[str, ...] = ()


def _inputs(material: Material) -> list[Path]:
    folder = material.folder / "inputs"
    if not folder.exists():
        folder.mkdir()
        for index in range(3):
            wave = noise(8000, 2, seed=index)
            soundfile.write(folder / f"song{index}.wav", wave, 8000)
    return sorted(folder.iterdir())


def _separate(*flags: object) -> Callable[[Path, Material], list[object]]:
    def words(place: Path, material: Material) -> list[object]:
        command = ["separate", *_inputs(material), "-n", material.model, "-o", place / "out"]
        return [*command, "-d", "cpu", "-p", "pipeline.segment=0.5", *flags]

    return words


def _copy_model(place: Path, material: Material) -> None:
    shutil.copytree(material.model, place / "tiny")


def _copy_codec(place: Path, material: Material) -> None:
    (place / "model").mkdir()
    shutil.copy(material.model / "codec.safetensors", place / "model")


def _evaluate(*flags: object) -> Callable[[Path, Material], list[object]]:
    def words(place: Path, material: Material) -> list[object]:
        command = ["evaluate", material.data, "--split", "train", "--protocol", "si-sdr"]
        return [*command, "-n", material.model, "-o", place / "results", "-d", "cpu", *flags]

    return words


def _train(what: str) -> Callable[[Path, Material], list[object]]:
    def words(place: Path, material: Material) -> list[object]:
        path = material.folder / f"train-{what}.toml"
        if not path.exists():
            path.write_text(configs.text_of(material, random.Random(0)))
        sizes = ["steps=60", "checkpoint_every=7", "validate_every=13", "log_every=5"]
        settings = [word for size in sizes for word in ("-p", f"train.{what}.{size}")]
        return ["train", what, "--config", path, "-o", place / "model", "-d", "cpu", *settings]

    return words


def _render(*flags: object) -> Callable[[Path, Material], list[object]]:
    def words(place: Path, material: Material) -> list[object]:
        command = ["data", "render", "-o", place / "data", "--soundfont", midi.SOUNDFONT, "--mono"]
        command += ["--tracks", 3, "--validation", 1, "--test", 0, "--duration", 2]
        return [*command, "--sample-rate", 8000, *flags]

    return words


def _slakh(place: Path, material: Material) -> list[object]:
    root = material.folder / "slakh"
    if not root.exists():
        for index in range(6):
            slakh.make_track(root / "train" / f"Track{index:05d}")
    return ["data", "slakh", root, "-o", place / "flat", "--sample-rate", 16_000]


def _import(place: Path, material: Material) -> list[object]:
    found: list[object] = ["models", "import", "jukebox", "-o", place / "imported", "-d", "cpu"]
    found += ["--codec", material.exported / "codec.pth.tar"]
    for source in ("drums", "bass"):
        found += ["--prior", f"{source}={material.exported}/prior.{source}.pth.tar"]
    return found


_CALIBRATE = ("--calibrate", "--clips", "8", "--clip-duration", "0.3", "--split", "train")

COMMANDS: dict[str, Command] = {
    "separate": Command(_separate(), again=("--skip-existing",)),
    "separate -j2": Command(_separate("-j", 2), again=("--skip-existing",)),
    "separate all": Command(
        _separate("--residual", "--save-candidates", 2, "--plots", "--float32"),
        again=("--skip-existing",),
    ),
    "separate flac": Command(_separate("--format", "flac", "--int24"), again=("--skip-existing",)),
    "separate ogg": Command(_separate("--format", "ogg"), again=("--skip-existing",)),
    "separate mp3": Command(_separate("--format", "mp3"), again=("--skip-existing",)),
    "evaluate": Command(_evaluate()),
    "evaluate -j2": Command(_evaluate("-j", 2)),
    "train codec": Command(_train("codec"), again=("--resume",)),
    "train prior": Command(_train("prior"), prepare=_copy_codec, again=("--resume",)),
    "sums": Command(lambda place, _: ["sums", place / "tiny", "-d", "cpu"], prepare=_copy_model),
    "calibrate": Command(
        lambda place, m: ["sums", place / "tiny", "-d", "cpu", "--data", m.data, *_CALIBRATE],
        prepare=_copy_model,
    ),
    "counts": Command(
        lambda place, m: [
            "counts",
            place / "tiny",
            "-d",
            "cpu",
            "--data",
            m.data,
            "--split",
            "train",
        ],
        prepare=_copy_model,
    ),
    "render": Command(_render()),
    "render -j2": Command(_render("-j", 2)),
    "slakh": Command(_slakh),
    "import": Command(_import),
    "export": Command(
        lambda place, m: ["models", "export", "jukebox", m.model, "-o", place / "exported"]
    ),
}


@dataclass(frozen=True)
class Undisturbed:
    """What a command gives when it is left alone: its files, their bytes and its seconds."""

    files: dict[str, str]
    n_bytes: int
    seconds: float


@dataclass
class Undisturbances:
    """Kept once they were made, by command."""

    found: dict[str, Undisturbed] = field(default_factory=dict)

    def get(self, name: str, folder: Path, material: Material) -> Undisturbed:
        """Runs the command in a new folder where it is not known yet."""
        if name not in self.found:
            command, place = COMMANDS[name], folder / "undisturbed"
            place.mkdir()
            command.prepare(place, material)
            done = run_lqsep(command.words(place, material), folder, limit_s=300)
            assert done.code == 0, done.err
            n_bytes = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            self.found[name] = Undisturbed(files_of(place), n_bytes, done.seconds)
            shutil.rmtree(place)
        return self.found[name]


UNDISTURBED = Undisturbances()


def files_of(place: Path) -> dict[str, str]:
    """Names of all files, and the hash of those that are the same on every run."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place)
        if path.is_file() and not _NOT_COMPARED & set(name.parts):
            same = path.suffix in _SAME
            found[str(name)] = _content_hash(path) if same else "not compared"
    return found


def _content_hash(path: Path) -> str:
    if path.suffix in _SOUND:  # some files have the time in them
        return hashlib.sha256(soundfile.read(path)[0].tobytes()).hexdigest()
    if path.suffix == ".npz":  # a zip file has the time in it
        with np.load(path) as arrays:
            content = b"".join(arrays[name].tobytes() for name in sorted(arrays))
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same_files(place: Path, expected: Undisturbed) -> list[str]:
    """Complaints about what differs from an undisturbed run."""
    return [*invariants.unchanged(expected.files, files_of(place), "compared with no disturbance")]
