"""``lqsep sums --calibrate``: the noise is measured, stored, described and used."""

from pathlib import Path

import pytest
import torch

from lqsep import load_model
from lqsep.cli.main import run
from lqsep.core.audio.files import write_audio
from lqsep.core.components.overrides import read_toml
from lqsep.core.store.model_directory import update_model_toml, verify_model
from lqsep.core.store.weights import load_weights
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.plugins.gaussian_sum.calibration import load_calibration

FILE = "calibration.safetensors"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tracks in each of the splits validation and test, which differ."""
    root = tmp_path_factory.mktemp("recordings")
    for split, seed in (("validation", 1), ("test", 2)):
        dataset = SyntheticDataset(
            sources=("drums", "bass"),
            n_tracks=2,
            duration_s=1.0,
            sample_rate=8000,
            channels=1,
            seed=seed,
        )
        for track in (dataset[0], dataset[1]):
            folder = root / split / track.name
            folder.mkdir(parents=True)
            for source, stem in track.stems.items():
                write_audio(folder / f"{source}.wav", stem, track.sample_rate)
    return root


def calibrate(model: Path, recordings: Path, *arguments: str) -> int:
    options = ["--calibrate", "--data", str(recordings), "--clips", "4", "--clip-duration", "0.5"]
    return run(["sums", str(model), *options, *arguments])


def test_the_noise_is_stored_described_and_used(
    tiny_model: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_toml(tiny_model / "model.toml")
    assert calibrate(tiny_model, recordings) == 0
    # 0.5 s at 8000 Hz in frames of 4 samples, four times.
    assert capsys.readouterr().out == f"{tiny_model / FILE}: 4000 frames\n"
    stored = load_calibration(tiny_model / FILE)
    codec = load_model(tiny_model).codec
    assert stored.codec_fingerprint == codec.fingerprint
    assert (stored.gains, stored.n_frames) == ((0.5, 0.5), 4000)
    assert stored.covariance.shape == (4,)
    after = read_toml(tiny_model / "model.toml")
    assert FILE in verify_model(tiny_model)
    assert after["likelihood"] == before["likelihood"], "the model's likelihood is the user's"

    write_audio(tmp_path / "mix.wav", 0.1 * torch.randn(1, 4000).numpy(), 8000)
    inputs = [str(tmp_path / "mix.wav"), "-n", str(tiny_model), "-o", str(tmp_path / "out")]
    assert run(["separate", *inputs, "--likelihood", "gaussian-sum"]) == 0
    assert len(list((tmp_path / "out").rglob("drums.wav"))) == 1


def test_a_missing_calibration_is_one_line(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "mix.wav", torch.zeros(1, 800).numpy(), 8000)
    arguments = [str(tmp_path / "mix.wav"), "-n", str(tiny_model), "-o", str(tmp_path / "out")]
    assert run(["separate", *arguments, "--likelihood", "gaussian-sum"]) == 3
    error = capsys.readouterr().err
    assert f"lqsep sums {tiny_model} --calibrate --data DIR" in error
    assert "Traceback" not in error


def test_choices(tiny_model: Path, recordings: Path, tmp_path: Path) -> None:
    """Covariance, split, seed and file; the model itself stays as it is."""
    before = (tiny_model / "model.toml").read_bytes()
    files = {}
    for name, options in {
        "plain": [],
        "again": [],
        "full": ["--covariance", "full"],
        "validation": ["--split", "validation"],
        "test": ["--split", "test"],
        "seed": ["--seed", "1"],
    }.items():
        files[name] = tmp_path / "other" / f"{name}.safetensors"
        assert calibrate(tiny_model, recordings, "-o", str(files[name]), *options) == 0
    tensors = {name: load_weights(path).tensors for name, path in files.items()}
    assert tensors["full"]["covariance"].shape == (4, 4)
    torch.testing.assert_close(
        tensors["full"]["covariance"].diagonal(), tensors["plain"]["covariance"]
    )
    for name, is_equal in {"again": True, "validation": True, "test": False, "seed": False}.items():
        assert torch.equal(tensors[name]["mean"], tensors["plain"]["mean"]) is is_equal, name
    assert (tiny_model / "model.toml").read_bytes() == before
    assert not (tiny_model / FILE).exists()


def test_a_model_that_reads_it_is_told(tiny_model: Path, recordings: Path) -> None:
    likelihood = {"type": "gaussian-sum", "temperature": 2.0, "calibration": "old.safetensors"}
    update_model_toml(tiny_model, changes={"likelihood": likelihood})
    assert calibrate(tiny_model, recordings, "--gain", "drums=0.7") == 0
    described = read_toml(tiny_model / "model.toml")
    assert described["likelihood"] == {**likelihood, "calibration": FILE}
    assert load_model(tiny_model).config.gains == (0.7, 0.5)
    assert load_calibration(tiny_model / FILE).gains == (0.7, 0.5)


def test_another_kind_of_data_set(tiny_model: Path, tmp_path: Path, recordings: Path) -> None:
    """Files <source>/<split>/<track>.wav, without a split named validation."""
    for source in ("drums", "bass"):
        for index, path in enumerate(sorted((recordings / "test").glob(f"*/{source}.wav"))):
            target = tmp_path / source / f"{index}.wav"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    assert calibrate(tiny_model, tmp_path, "--dataset", "stem-folders") == 0
    assert load_calibration(tiny_model / FILE).n_frames == 4000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--calibrate"], 2, "--calibrate needs --data"),
        (["--data", "{data}"], 2, "--data needs --calibrate"),
        (["--covariance", "full"], 2, "--covariance needs --calibrate"),
        (["-o", "x"], 2, "--output needs --calibrate"),
        (["--calibrate", "--data", "{data}", "--clips", "0"], 2, "--clips"),
        (["--calibrate", "--data", "{data}", "--dataset", "folders"], 2, "no dataset named"),
        (["--calibrate", "--data", "{data}", "--split", "none"], 2, "none"),
        (["--calibrate", "--data", "{data}/nowhere"], 2, "nowhere"),
    ],
)
def test_wrong_options(
    tiny_model: Path,
    recordings: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    words = [word.format(data=recordings) for word in arguments]
    found = run(["sums", str(tiny_model), *words])
    error = capsys.readouterr().err
    assert message in error
    assert found == code, error
    assert "Traceback" not in error
    assert not (tiny_model / FILE).exists()


def test_the_file_cannot_be_written(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told before the recordings are looked for."""
    path = Path("/proc") / FILE
    assert calibrate(tiny_model, tmp_path / "none", "-o", str(path)) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"lqsep: error: cannot write {path}: ") and message.count("\n") == 1
