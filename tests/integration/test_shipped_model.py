"""The models that come with the package; the default one by all three ways to use it."""

import json
import math
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from lqsep import Separator
from lqsep.cli.main import run
from lqsep.core.audio.files import read_audio
from lqsep.core.inference.smoothing.markov_steps import Scaled, markov_steps
from lqsep.core.separation.run import WHOLE_S
from lqsep.core.signal.metrics import windowed_sdr
from lqsep.core.store.model_directory import shipped_models

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NAME = "drums-bass"
MODELS = (NAME, "drums-bass-lqvae")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "audio" / NAME
STEMS = ("drums", "bass")

# Few seconds and candidates: the quality is measured elsewhere.
START_S, DURATION_S = 5, 3
N_CANDIDATES = 4
SEED = 3

# PCM 16 rounds to 1 / 32768.
STEP = 1 / 32768


def excerpt(name):
    wave, rate = read_audio(EXAMPLE / f"{name}.flac")
    return wave[:, START_S * rate : (START_S + DURATION_S) * rate], rate


@pytest.fixture(scope="module")
def directory():
    return shipped_models()[NAME]


@pytest.fixture(scope="module")
def separation():
    separator = Separator.from_pretrained(
        NAME, device="cpu", overrides=[f"sampler.n_candidates={N_CANDIDATES}"]
    )
    return separator.separate(excerpt("mixture"), seed=SEED)


def arguments(out):
    return [
        "separate", str(EXAMPLE / "mixture.flac"), "-o", str(out), "--device", "cpu",
        "--seed", str(SEED), "--start", str(START_S), "--duration", str(DURATION_S),
    ]  # fmt: skip


def assert_same_stems(folder, separation):
    for name in STEMS:
        wave, rate = read_audio(folder / "mixture" / f"{name}.wav")
        assert rate == separation.sample_rate
        assert wave.shape == separation.stems[name].shape
        assert np.abs(wave - separation.stems[name]).max() <= STEP


def test_stems_are_the_mixtures_and_better_than_half_of_it(separation):
    mixture, rate = excerpt("mixture")
    assert tuple(separation.stems) == STEMS
    for name, stem in separation.stems.items():
        truth = excerpt(name)[0]
        found = windowed_sdr(truth, stem, rate).median
        half = windowed_sdr(truth, mixture / 2, rate).median
        # Measured: 11.3 against 4.1 dB (drums), 13.7 against 1.7 dB (bass).
        assert found > half + 4, name
    total = sum(separation.stems.values())
    assert np.abs(total - mixture).max() < 1e-6  # float32 sums of numbers below 1


def test_the_command_by_the_models_name(separation, tmp_path):
    """In a process of its own, as a user starts it."""
    command = [sys.executable, "-c", "from lqsep.cli.main import main; main()"]
    command += [*arguments(tmp_path), "-n", NAME, "--candidates", str(N_CANDIDATES)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    assert_same_stems(tmp_path / NAME, separation)


def test_the_command_by_a_file_that_names_every_component(separation, directory, tmp_path):
    written = tmp_path / "mine.toml"
    assert run(["config", "init", "-n", NAME, "-o", str(written)]) == 0
    text = written.read_text()
    assert text.count("\nn_candidates = ") == 1
    before = tomllib.loads(text)["sampler"]["n_candidates"]
    text = text.replace(f"\nn_candidates = {before}\n", f"\nn_candidates = {N_CANDIDATES}\n")
    written.write_text(text)
    config = tomllib.loads(text)
    assert config["sampler"]["n_candidates"] == N_CANDIDATES != before
    # Nothing is left to a default, and the weights are found from anywhere, as the model's.
    slots = [config[kind] for kind in ("codec", "likelihood", "sampler", "selector")]
    slots += [config["sources"][name]["prior"] for name in STEMS] + config["refiners"]
    assert all(slot["type"] for slot in slots)
    assert config["weights"] == NAME
    for slot in (config["codec"], *(config["sources"][name]["prior"] for name in STEMS)):
        assert (directory / slot["checkpoint"]).is_file()

    out = tmp_path / "out"
    assert run([*arguments(out), "--config", str(written)]) == 0
    assert_same_stems(out / "mine", separation)


@pytest.mark.parametrize(
    "changes",
    [
        ["--likelihood", "delta"],
        ["--likelihood", "gaussian-sum"],
        ["--likelihood", "waveform", "-p", "likelihood.context=1", "--duration", "0.1"],
        ["--sampler", "beam"],
        ["--sampler", "rejection", "-p", "sampler.max_rounds=2"],
        ["--sampler", "smc", "-p", "sampler.n_particles=4", "-p", "sampler.n_islands=2"],
        ["--selector", "rejection", "-p", "sampler.joint_top_k=20"],
    ],
    ids=lambda changes: changes[1] + (" " + changes[-1] if changes[0] == "--selector" else ""),
)
def test_other_components_work_on_it(changes, tmp_path, capsys):
    """By their names alone: the files that they need are in the model's directory."""
    model = "drums-bass-lqvae"
    call = [*arguments(tmp_path), "--duration", "0.5", "-n", model, "--candidates", "2", "--json"]
    assert run([*call, *changes]) == 0
    (track,) = json.loads(capsys.readouterr().out)["tracks"]
    report = json.loads(Path(track["report"]).read_text())
    section = changes[0].removeprefix("--")
    assert report["config"][section]["type"] == changes[1]
    mixture = excerpt("mixture")[0][:, : report["input"]["n_samples"]]
    stems = [read_audio(tmp_path / model / "mixture" / f"{name}.wav")[0] for name in STEMS]
    # The shipped refiners make the stems sum to the mixture; three roundings to 16 bits.
    assert np.abs(sum(stems) - mixture).max() <= 3 * STEP


@pytest.mark.parametrize("name", MODELS)
def test_every_file_is_verified_and_all_are_small(name, capsys):
    directory = shipped_models()[name]
    assert run(["models", "verify", name]) == 0
    n_weights = len(list(directory.glob("*.safetensors")))
    assert f"{name}: {n_weights} files verified" in capsys.readouterr().out
    total = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    assert total <= 30 * 2**20


@pytest.mark.parametrize("name", MODELS)
def test_the_model_says_where_it_comes_from_and_what_it_can(name):
    directory = shipped_models()[name]
    model = tomllib.loads((directory / "model.toml").read_text())["model"]
    assert model["version"]
    assert model["licence"] == "MIT"
    training_data = model["training_data"]
    assert "lqsep data render" in training_data and "licence" in training_data
    measured = model["measured"]
    assert "test tracks" in measured["what"]
    _, script, *options = measured["command"].split()
    assert (EXAMPLE.parents[2] / script).is_file() and name in options
    assert (EXAMPLE.parents[2] / model["recipe"]["config"]).is_file()
    for stem in STEMS:
        figure = model["metrics"]["test_sdr_db"][stem]
        assert math.isfinite(figure)
        assert measured["interval_95"][stem] > 0
        # Better than no separation at all, and below what the best masks reach.
        assert measured["baseline_half_mixture_db"][stem] < figure
        assert figure < measured["oracle_masks_db"][stem]


def test_the_models_list_has_them(capsys):
    assert run(["models", "list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert set(rows) == set(MODELS)
    for row in rows.values():
        assert "MIT" in row and "drums, bass" in row


def test_twenty_minutes_are_inferred_in_float32():
    """Chains with transitions next to impossible would take several times as long."""
    separator = Separator.from_pretrained(NAME, device="cpu")
    tables = [prior.transition_matrix()[1] for prior in separator.priors.values()]
    n_frames = round(WHOLE_S * separator.codec.info.frame_rate)
    assert isinstance(markov_steps(tables, n_frames).arithmetic, Scaled)


@pytest.mark.parametrize("name", MODELS)
def test_what_nobody_hears_does_not_steer_it(name):
    separator = Separator.from_pretrained(
        name, device="cpu", overrides=[f"sampler.n_candidates={N_CANDIDATES}"]
    )
    wave, rate = excerpt("mixture")
    plain = separator.separate((wave, rate), seed=SEED).stems
    # A tone that begins at once would be heard to begin, if only a little.
    time = np.arange(wave.shape[1]) / rate
    tone = 0.1 * np.sin(2 * np.pi * 8 * time) * np.hanning(len(time))
    for added, least_db in ((0.01, 60), (tone, 40)):
        added = np.broadcast_to(np.float32(added), wave.shape)
        found = separator.separate((wave + added, rate), seed=SEED).stems
        np.testing.assert_allclose(sum(found.values()), wave + added, atol=1e-6, rtol=0)
        for source, stem in plain.items():
            error = found[source] - added / 2 - stem
            assert 10 * np.log10((stem**2).sum() / (error**2).sum()) > least_db, source
