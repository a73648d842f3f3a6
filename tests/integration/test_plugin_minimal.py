"""The example plugin, installed as a user would install it, in an environment of its own."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lqsep.core.audio.files import read_audio, write_audio
from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.interfaces.prior import Prior
from lqsep.testing.contracts import PriorContract
from lqsep.testing.toys import AddingCodec

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plugin_minimal"

Lqsep = Callable[..., "subprocess.CompletedProcess[str]"]


class TestStickyPrior(PriorContract):
    @pytest.fixture(autouse=True)
    def import_plugin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(EXAMPLE)
        # Nothing is written into the example's folder.
        monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def make(self) -> Prior:
        import lqsep_sticky

        found = Registry.from_plugins(sticky=lqsep_sticky).find(Kind.PRIOR, "sticky")
        context = BuildContext(
            device=torch.device("cpu"),
            dtype=torch.float32,
            sources=("drums", "bass"),
            source="bass",
            gains=(0.5, 0.5),
            codec=AddingCodec(),
            base_dir=Path("."),
        )
        prior = build(found, found.spec.config(stay=0.4), context)
        assert isinstance(prior, Prior)
        return prior

    def test_it_stays_with_the_configured_probability(self) -> None:
        prior = self.make()
        first, state = prior.step(prior.start(2), None)
        second, _ = prior.step(state, torch.tensor([0, 2]))
        assert torch.allclose(first.exp(), torch.full((2, 3), 1 / 3))
        # Three codes: 0.4 for staying, the other 0.6 shared by all of them.
        expected = torch.tensor([[0.6, 0.2, 0.2], [0.2, 0.2, 0.6]])
        assert torch.allclose(second.exp(), expected)


@pytest.fixture(scope="module")
def lqsep_command(tmp_path_factory: pytest.TempPathFactory) -> Lqsep:
    """Runs ``lqsep`` in an environment that sees this one's packages, and the plugin."""
    folder = tmp_path_factory.mktemp("environment")
    environment = folder / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    ours = sysconfig.get_path("purelib")
    # addsitedir also reads the .pth files there, such as that of an editable install.
    (packages / "outer.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    copy = shutil.copytree(
        EXAMPLE, folder / "plugin_minimal", ignore=shutil.ignore_patterns("__pycache__")
    )
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet",
        "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation", copy,
    )  # fmt: skip

    def lqsep(*arguments: object) -> "subprocess.CompletedProcess[str]":
        return run(python, "-m", "lqsep", *arguments)

    return lqsep


def run(*command: object) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done


def test_it_is_listed(lqsep_command: Lqsep) -> None:
    done = lqsep_command("components", "--kind", "prior")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["prior", "sticky", "lqsep-sticky", "0.1.0"] in [line[:4] for line in lines]
    assert "problem" not in done.stdout


def test_this_environment_does_not_know_it() -> None:
    names = {component.spec.name for component in Registry.discover().components(Kind.PRIOR)}
    assert "sticky" not in names and "transformer" in names


def test_its_settings_are_shown(lqsep_command: Lqsep) -> None:
    shown = lqsep_command("components", "show", "prior", "sticky").stdout
    assert "stay" in shown and "Probability of staying on a code" in shown


def test_its_command_stands_beside_ours(lqsep_command: Lqsep) -> None:
    lines = [line.split(maxsplit=1) for line in lqsep_command("--help").stdout.splitlines()]
    assert ["sticky", "Tell how long the prior sticky stays on a code."] in lines
    # Four codes: it moves on to another one with probability 0.6 * 3 / 4.
    assert lqsep_command("sticky", 0.4, "--codes", 4).stdout == "2.22 frames\n"
    assert "STAY" in lqsep_command("sticky", "--help").stdout


@pytest.mark.slow
def test_it_separates(lqsep_command: Lqsep, tiny_model: Path, tmp_path: Path) -> None:
    mixture = 0.1 * np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32)
    write_audio(tmp_path / "song.wav", mixture, 8000)

    def separate(out: str, *arguments: str) -> np.ndarray:
        lqsep_command(
            "separate", tmp_path / "song.wav", "-n", tiny_model, "-o", tmp_path / out, *arguments
        )
        stems = [read_audio(tmp_path / out / f"tiny/song/{s}.wav")[0] for s in ("drums", "bass")]
        # Mixture and stems are rounded to 16 bits: half a step of 1 / 32768 each.
        assert np.abs(sum(stems) - mixture).max() < 2 / 32768
        return np.stack(stems)

    with_plugin = separate("sticky", "--prior", "drums=sticky")
    stay = separate("stay", "--prior", "drums=sticky", "-p", "sources.drums.prior.stay=0.99")
    assert not np.array_equal(with_plugin, stay)
