"""``lqsep counts``: the file is right, is described in model.toml, and separates."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lqsep import load_model
from lqsep.cli.main import run
from lqsep.core.audio.files import read_audio, write_audio
from lqsep.core.components.overrides import read_toml
from lqsep.core.store.model_directory import update_model_toml, verify_model
from lqsep.plugins.counts.store import load_counts
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.testing.models import make_tiny_model


@pytest.fixture(scope="module")
def trained_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("trained") / "tiny")


@pytest.fixture
def trained(trained_files: Path, tmp_path: Path) -> Path:
    """A model whose codec was trained for a step, so that it uses several codes."""
    return Path(shutil.copytree(trained_files, tmp_path / "trained" / "tiny"))


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Three tracks of 0.4 s in the layout ``<split>/<track>/<source>.wav``."""
    dataset = SyntheticDataset(n_tracks=3, duration_s=0.4, sample_rate=8000)
    for index in range(len(dataset)):
        track = dataset[index]
        for source, wave in track.stems.items():
            path = tmp_path / "data" / "train" / track.name / f"{source}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, wave, track.sample_rate)
    return tmp_path / "data"


def test_counts_are_stored_and_separate(
    trained: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["counts", str(trained), "--data", str(recordings), "--split", "train"]
    assert run([*arguments, "--passes", "2"]) == 0
    path = trained / "counts.safetensors"
    counted = load_counts(path)
    # 50 frames of 0.4 s, 3 tracks, 2 passes, each clip twice; clips that start inside a frame add
    # one at most.
    assert 3 * 2 * 2 * 50 <= counted.n_frames <= 3 * 2 * 2 * 50 + 3 * 2 * 2
    assert (counted.codebook_size, counted.gains) == (8, (0.5, 0.5))
    assert len(counted.counts) > 8
    assert counted.codec_fingerprint == load_model(trained).codec.fingerprint
    printed = capsys.readouterr().out
    assert printed.startswith(
        f"{path}: {len(counted.counts)} distinct triples in {counted.n_frames} frames; other "
        "tracks cover "
    )
    assert printed.count("\n") == 1
    assert "counts.safetensors" in verify_model(trained)
    assert read_toml(trained / "model.toml")["likelihood"]["type"] == "codebook-sum"

    mixture = 0.1 * np.random.default_rng(0).standard_normal((2, 2001)).astype(np.float32)
    write_audio(tmp_path / "mix.wav", mixture, 8000)
    out = tmp_path / "out"
    separate = ["separate", str(tmp_path / "mix.wav"), "-n", str(trained), "-o", str(out)]
    assert run([*separate, "--likelihood", "counts", "-p", "likelihood.smoothing=0.1"]) == 0
    stems = [read_audio(out / "tiny" / "mix" / f"{stem}.wav")[0] for stem in ("drums", "bass")]
    # 16-bit files: half a step of 1 / 32768 each.
    assert np.abs(sum(stems) - mixture).max() < 2 / 32768


def test_another_file(trained: Path, recordings: Path, tmp_path: Path) -> None:
    described = (trained / "model.toml").read_bytes()
    other = tmp_path / "elsewhere" / "mine.safetensors"
    arguments = ["counts", str(trained), "--data", str(recordings / "train"), "--passes", "1"]
    assert run([*arguments, "-o", str(other)]) == 0
    assert (trained / "model.toml").read_bytes() == described
    for seed in (0, 1):
        assert run([*arguments, "--seed", str(seed)]) == 0
        pair = [load_counts(path) for path in (other, trained / "counts.safetensors")]
        triples = [found.triples for found in pair]
        same = triples[0].shape == triples[1].shape and torch.equal(*triples)
        assert (same and torch.equal(pair[0].counts, pair[1].counts)) == (seed == 0)


def test_a_model_without_counts(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "mix.wav", np.zeros((1, 800), np.float32), 8000)
    separate = ["separate", str(tmp_path / "mix.wav"), "-n", str(tiny_model)]
    assert run([*separate, "--likelihood", "counts", "-o", str(tmp_path)]) == 3
    message = capsys.readouterr().err
    assert "make it with `lqsep counts MODEL_DIR --data DIR`" in message
    assert "Traceback" not in message and message.count("\n") == 1
    lass = ["--likelihood", "counts", "-p", "likelihood.counts=sums.npz"]
    assert run([*separate, *lass, "-o", str(tmp_path)]) == 3
    message = capsys.readouterr().err
    assert f"no file of counts at {tiny_model / 'sums.npz'}; check likelihood.counts" in message
    assert "a file in the model's directory" in message
    assert "lqsep counts" not in message and message.count("\n") == 1


def test_wrong_data(
    tiny_model: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["counts", str(tiny_model), "--data"]
    for arguments, code, message in (
        ([str(tmp_path / "none")], 2, "expected a folder as root"),
        ([str(recordings), "--split", "test"], 2, "no split 'test'"),
        ([str(recordings), "--dataset", "track-folder"], 2, "did you mean 'track-folders'?"),
        (
            [str(recordings), "--dataset", "synthetic"],
            2,
            "data set 'synthetic' has no setting root",
        ),
        ([str(recordings / "train"), "--passes", "0"], 2, "--passes"),
        ([str(tmp_path)], 1, "no audio files found"),
    ):
        assert run([*call, *arguments]) == code
        assert message in capsys.readouterr().err
    for path in recordings.glob("train/*/bass.wav"):
        path.unlink()
    assert run([*call, str(recordings / "train")]) == 2
    assert "no source bass" in capsys.readouterr().err
    assert not list(tiny_model.glob("*counts*"))


def test_wrong_models(
    tiny_model: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(recordings / "train")]
    assert run(["counts", str(tmp_path / "none"), *data]) == 3
    assert "no model.toml in" in capsys.readouterr().err
    update_model_toml(tiny_model, changes={"sources.piano.prior.type": "ngram"})
    (tiny_model / "codec.safetensors").unlink()
    assert run(["counts", str(tiny_model), *data]) == 2
    stderr = capsys.readouterr().err
    assert "model.toml: separation works on 2 sources, got 3" in stderr
    assert "another likelihood" not in stderr and stderr.count("\n") == 1


def test_the_file_cannot_be_written(
    tiny_model: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told before the recordings are read, and nothing is left."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for data, path in (
        (tmp_path / "empty", Path("/proc/counts.safetensors")),
        (tmp_path / "empty", tmp_path / "file" / "new" / "counts.safetensors"),
    ):
        assert run(["counts", str(tiny_model), "--data", str(data), "-o", str(path)]) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"lqsep: error: cannot write {path}: ")
        assert message.count("\n") == 1 and ".part" not in message and "weights" not in message
    assert (
        run(
            [
                "counts",
                str(tiny_model),
                "--data",
                str(tmp_path / "empty"),
                "-o",
                str(tmp_path / "new" / "counts.safetensors"),
            ]
        )
        != 0
    )
    assert sorted(tmp_path.rglob("*")) == before
