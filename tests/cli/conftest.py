"""A third-party plugin of tiny components, and a model made of them, for commands to run on."""

import json
import os
import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lqsep.cli.main import run
from lqsep.core.audio.files import read_audio, write_audio
from lqsep.core.components.overrides import read_toml
from lqsep.core.store.model_directory import update_model_toml
from lqsep.core.store.weights import save_weights
from lqsep.plugins.lqvae.codec import LQVAECodec, inference_tensors
from lqsep.plugins.lqvae.config import LQVAEConfig
from lqsep.plugins.lqvae.factory import build_model
from lqsep.plugins.ngram.factory import save_counts

DISTRIBUTION = {
    "lqsep_toys-1.5.dist-info/METADATA": """
        Metadata-Version: 2.1
        Name: lqsep-toys
        Version: 1.5
        """,
    "lqsep_toys-1.5.dist-info/entry_points.txt": """
        [lqsep]
        toys = lqsep_toys
        """,
    "lqsep_toys.py": """
        from lqsep import ComponentConfig, ComponentSpec, Kind, hookimpl


        class CodecConfig(ComponentConfig):
            type: str = "adding"
            levels: tuple[float, ...] = (0.0, 0.1, 0.35)
            when_loud: str = "ignore"  # what peaks above 0.9, 0.93 ... lead to


        class PriorConfig(ComponentConfig):
            type: str = "markov"
            seed: int = 0
            delay_s: float = 0.0


        class LikelihoodConfig(ComponentConfig):
            type: str = "adding"
            sigma: float = 0.001


        @hookimpl
        def lqsep_components():
            for kind, name, config in (
                (Kind.CODEC, "adding", CodecConfig),
                (Kind.PRIOR, "markov", PriorConfig),
                (Kind.LIKELIHOOD, "adding", LikelihoodConfig),
            ):
                yield ComponentSpec(
                    kind=kind,
                    name=name,
                    config=config,
                    factory=f"lqsep_toys_factory:build_{kind}",
                    summary=f"Toy {kind}",
                    api_version=1,
                )
        """,
    "lqsep_toys_factory.py": """
        import os
        import signal
        import sys
        import time

        import torch

        from lqsep.core.errors import EmptySupportError, IncompatibleComponentsError
        from lqsep.testing.toys import (
            AddingCodec, AddingLikelihood, MarkovPrior, random_markov_prior
        )


        class Codec(AddingCodec):
            def analyse(self, wave):
                if (peak := float(wave.abs().max())) > 0.9:
                    faults = self.when_loud.split()
                    fault = faults[min(int((peak - 0.9) / 0.03), len(faults) - 1)]
                    if fault == "die":
                        os.kill(os.getpid(), signal.SIGKILL)
                    if fault == "crash":
                        raise ZeroDivisionError("a bug in a plugin")
                    if fault == "starve":
                        raise EmptySupportError("no joint code explains frame 0")
                    if fault == "exhaust":
                        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
                    if fault == "fill":
                        raise MemoryError
                    if fault == "allocate":
                        torch.empty(1 << 60, dtype=torch.uint8)
                    if fault == "exit":
                        sys.exit(0)
                    if fault == "leave":
                        raise GeneratorExit
                    if fault == "print":
                        print("printed by the codec")
                        os.write(1, b"printed past Python\\n")
                    if fault == "misfit":
                        raise IncompatibleComponentsError("these do not fit")
                return super().analyse(wave)


        class SlowPrior(MarkovPrior):
            def step(self, state, codes):
                time.sleep(self.delay_s + float(os.environ.get("LQSEP_TOYS_DELAY_S", 0)))
                return super().step(state, codes)


        def build_codec(config, context):
            codec = Codec(config.levels)
            codec.when_loud = config.when_loud
            return codec


        def build_prior(config, context):
            generator = torch.Generator().manual_seed(config.seed)
            chain = random_markov_prior(context.codec.codebook_size(0), generator)
            prior = SlowPrior(chain.log_initial, chain.log_transition)
            prior.delay_s = config.delay_s
            return prior


        def build_likelihood(config, context):
            return AddingLikelihood(context.codec, config.sigma)
        """,
}

MODEL = """
version = 1

[model]
licence = "MIT"
metrics = { si_sdr = 3.5 }

[codec]
type = "adding"

[sources.drums]
gain = 0.8
prior = { type = "markov", seed = 1 }

[sources.bass]
gain = 0.2
prior = { type = "markov", seed = 2 }

[likelihood]
type = "adding"

[sampler]
type = "ancestral"
n_candidates = 4

[selector]
type = "best"

[pipeline]
segment = 0.1
"""


@pytest.fixture(scope="session")
def toys_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that, on Python's path, installs the distribution ``lqsep-toys``."""
    folder = tmp_path_factory.mktemp("toys")
    for name, text in DISTRIBUTION.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    return folder


@pytest.fixture
def toy_model(toys_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model directory named ``toy`` of sources drums (gain 0.8) and bass (gain 0.2).

    Every pair of its codes has a sum of its own, so that the stems of a mixture made by
    ``example`` are known. Runs at 8000 Hz, 4 samples per frame.
    """
    monkeypatch.syspath_prepend(toys_folder)
    found = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(toys_folder), *([found] if found else [])])
    monkeypatch.setenv("PYTHONPATH", path)
    directory = tmp_path / "models" / "toy"
    directory.mkdir(parents=True)
    (directory / "model.toml").write_text(MODEL)
    return directory


TINY = """
version = 1

[model]
version = "1"
licence = "CC0-1.0"
training_data = "none: random weights"
metrics = { test_sdr_db = { drums = 1.5, bass = -2.0 } }
measured = { seconds_per_second = 0.25 }

[codec]
type = "lq-vae"
sample_rate = 8000
downs_t = [2]
strides_t = [2]
multipliers = [1]
width = 4
depth = 1
embedding_dim = 4
codebook_size = 16

[sources.drums]
prior = { type = "ngram" }

[sources.bass]
prior = { type = "ngram" }

[likelihood]
type = "codebook-sum"

[sampler]
type = "ancestral"
n_candidates = 2

[selector]
type = "mean"

[[refiners]]
type = "wiener"

[[refiners]]
type = "consistency"

[pipeline]
segment = 0.2
"""


@pytest.fixture(scope="session")
def tiny_model_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped components with random weights; copied by `tiny_model`."""
    directory = tmp_path_factory.mktemp("models") / "tiny"
    directory.mkdir()
    (directory / "model.toml").write_text(TINY)
    settings = LQVAEConfig.model_validate(read_toml(directory / "model.toml")["codec"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(settings)
    save_weights(directory / "codec.safetensors", inference_tensors(model), {})
    codec = LQVAECodec(model, sample_rate=settings.sample_rate)
    generator = torch.Generator().manual_seed(1)
    for source in ("drums", "bass"):
        codes = torch.randint(settings.codebook_size, (4, 200), generator=generator)
        save_counts(
            directory / f"prior.{source}.safetensors",
            list(codes),
            settings.codebook_size,
            2,
            {"codec_fingerprint": codec.fingerprint},
        )
    update_model_toml(directory, files=[path.name for path in directory.glob("*.safetensors")])
    return directory


@pytest.fixture
def tiny_model(tiny_model_files: Path, tmp_path: Path) -> Path:
    """A model directory named ``tiny``: ``lq-vae``, ``ngram`` and ``codebook-sum``, untrained."""
    return Path(shutil.copytree(tiny_model_files, tmp_path / "models" / "tiny"))


class ToyRun:
    """Runs ``lqsep separate`` on a model, in a folder with inputs and, below ``out``, results."""

    def __init__(self, model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.model, self.folder, self._capsys = model, folder, capsys
        self.results = folder / "out" / model.name
        self.stdout = self.stderr = ""

    def __call__(self, *arguments: object, code: int = 0) -> "ToyRun":
        self._capsys.readouterr()
        flags = ["-n", self.model, "-o", self.folder / "out", *arguments]
        found = run(["separate", *map(str, flags)])
        self.stdout, self.stderr = self._capsys.readouterr()
        assert found == code, self.stderr
        return self

    def write(self, name: str, wave: np.ndarray, rate: int = 8000) -> Path:
        """A file of float samples."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, wave, rate, subtype="FLOAT")
        return path

    def read(self, name: str) -> np.ndarray:
        """A wave below the results, float32, ``channels samples``."""
        return np.asarray(read_audio(self.results / name)[0])

    def report(self, track: str) -> dict[str, Any]:
        found = json.loads((self.results / track / "lqsep.json").read_text())
        assert isinstance(found, dict)
        return found

    def files(self) -> list[str]:
        """Everything below the output folder, hidden files included."""
        out = self.folder / "out"
        return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


@pytest.fixture
def toy_run(toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> ToyRun:
    """On `toy_model`, whose ``example`` of stems is known to the sample."""
    return ToyRun(toy_model, tmp_path, capsys)


@pytest.fixture
def toy_stems() -> dict[str, np.ndarray]:
    """Sources of 0.15 s before their gains; every pair of levels has a sum of its own."""
    generator = np.random.default_rng(0)
    levels = np.array([0.0, 0.1, 0.35], np.float32)
    return {
        name: levels[generator.integers(0, 3, (1, 300))].repeat(4, 1) for name in ("drums", "bass")
    }
