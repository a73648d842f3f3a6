"""The trainer of spectral-vq: codebooks, their statistics, figures, and a model directory."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from lqsep.cli.main import cli
from lqsep.core.components.assemble import TrainContext
from lqsep.core.errors import AudioError
from lqsep.core.signal.nearest_codes import nearest_codes
from lqsep.core.store.model_directory import load_model, verify_model
from lqsep.core.store.weights import load_weights
from lqsep.core.training.events import TrainEvent, TrainStep, TrainValidation, say_nothing
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.plugins.spectral.codec import SpectralCodec
from lqsep.plugins.spectral.config import SpectralConfig, SpectralTrainConfig
from lqsep.plugins.spectral.factory import build_codec, build_features
from lqsep.plugins.spectral.train import Clips, count_frames, make_book, measure, train_spectral
from lqsep.testing.contexts import build_context, train_context

RATE = 4000
CONFIG = SpectralConfig(
    sample_rate=RATE, n_fft=256, hop_length=64, n_bands=60, codebook_size=12, level=0.0707
)
TRAIN = SpectralTrainConfig(versions=2, iterations=8)
SOURCES = ("drums", "bass")
FEATURES = build_features(CONFIG)


def dataset(seed: int = 0, duration_s: float = 2.0, n_tracks: int = 3) -> SyntheticDataset:
    return SyntheticDataset(
        sources=SOURCES, n_tracks=n_tracks, duration_s=duration_s, sample_rate=RATE, seed=seed
    )


def context(folder: Path, reports: list[TrainEvent] | None = None) -> TrainContext:
    report = say_nothing if reports is None else reports.append
    return train_context(dataset(0), folder, validation=dataset(9), seed=4, report=report)


def build(folder: Path, config: SpectralConfig = CONFIG) -> SpectralCodec:
    return build_codec(config, build_context(folder))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def waves(n_waves: int = 2, n_samples: int = 3000) -> list[Tensor]:
    """Noise that fades out, so that frames differ in level."""
    fade = torch.linspace(1, 0, n_samples)
    return [0.1 * fade * torch.randn(n_samples, generator=generator(i)) for i in range(n_waves)]


def clips(found: list[Tensor], **changes: float) -> Clips:
    settings = TRAIN.model_copy(update={"versions": 1, **changes})
    return Clips(found, FEATURES, settings, generator())


def test_writes_a_codec_that_loads(tmp_path: Path) -> None:
    reports: list[TrainEvent] = []
    train_spectral(CONFIG, TRAIN, context(tmp_path, reports))
    weights = load_weights(tmp_path / "codec.safetensors")
    assert weights.metadata["component"] == "spectral-vq" and weights.metadata["seed"] == "4"
    codec = build(tmp_path)
    assert [book.size for book in codec.books] == [12, 12]
    assert not torch.equal(codec.books[0].mean, codec.books[1].mean)
    told = [report for report in reports if isinstance(report, TrainStep)]
    steps = [report.progress.step for report in told]
    assert steps[0] == 1 and steps == sorted(set(steps)) and 8 < steps[-1] <= 16
    for report in told:
        progress = report.progress
        assert report.name == "codec" and report.loss is not None
        assert progress.steps == 16 and progress.done == progress.step / 16
        assert progress.eta_s == pytest.approx((16 - progress.step) / progress.steps_per_s)
    (validation,) = [report for report in reports if isinstance(report, TrainValidation)]
    assert validation.name == "codec" and validation.step is None
    stored = {k for k in weights.metadata if k.startswith("validation/")}
    expected = {f"{figure}_{s}" for figure in ("distortion", "snr", "codes_used") for s in SOURCES}
    assert stored == {f"validation/{name}" for name in expected}
    assert expected == validation.figures.keys()


def test_the_same_seed_gives_the_same_codec(tmp_path: Path) -> None:
    fingerprints = []
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        train_spectral(CONFIG, TRAIN, replace(context(tmp_path / name), seed=seed))
        fingerprints.append(build(tmp_path / name).fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_the_figures_are_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.search(r"Codec `spectral-vq`, validation:\n\n(\|.*?)\n\n", page, re.S)
    assert rows is not None
    documented = re.findall(r"`(\w+)_<source>`", rows[1])
    measured = measure(
        FEATURES, make_book(FEATURES, clips(waves()), 4, TRAIN, generator()), waves()
    )
    assert documented == list(measured)


def test_stems_stand_at_the_level_of_the_priors(tmp_path: Path) -> None:
    """Training sees what `encode_source` will encode: stems at level / hypot(gains) = 0.1."""
    train_spectral(CONFIG, TRAIN.model_copy(update={"versions": 1}), context(tmp_path))
    louder = replace(context(tmp_path / "loud"), gains=(0.05, 0.05))
    train_spectral(CONFIG, TRAIN.model_copy(update={"versions": 1}), louder)
    means = [
        (book.mean[1:] * book.count[1:, None]).sum() / book.count[1:].sum() / 60
        for book in (build(tmp_path).books[1], build(tmp_path / "loud").books[1])
    ]
    # 20 dB more, less where the floor holds: the bass has none above its harmonics.
    assert 2 < 4.343 * float(means[1] - means[0]) <= 20.01


def test_versions_are_equalised_and_change_in_pitch() -> None:
    plain = clips(waves(1), versions=20)
    lengths = {part.shape[1] for part in clips(waves(1), versions=20, semitones=4.0)}
    # 2^(4/12) = 1.26; lengths are rounded up.
    assert min(lengths) < 2600 and max(lengths) > 3600
    equalised = list(clips(waves(1), versions=20, eq_db=6.0))
    differences = [
        float((old - new).norm() / old.norm()) for old, new in zip(plain, equalised, strict=True)
    ]
    assert differences[0] == 0 and min(differences[1:]) > 0.02
    assert sorted(differences)[10] > 0.1


def test_versions_are_shifted_and_changed_in_level() -> None:
    found = clips(waves(), versions=40, gain_db=6.0)
    parts = list(found)
    assert len(parts) == 80
    assert all(torch.equal(a, b) for a, b in zip(parts, found, strict=True))
    assert torch.equal(parts[0], waves()[0][None])
    # A shift may cost a frame.
    n_frames = sum(math.ceil(part.shape[1] / 64) for part in parts)
    assert n_frames <= found.n_frames <= n_frames + 78
    shifts = {3000 - part.shape[1] for part in parts[2:]}
    assert min(shifts) >= 0 and max(shifts) < 64 and len(shifts) > 20
    decibels = []
    for number, part in enumerate(parts[2:]):
        whole = waves()[number % 2][3000 - part.shape[1] :]
        decibels.append(20 * math.log10(float(part.norm() / whole.norm())))
    # 78 draws between -6 and 6: the ends are reached within 1 dB.
    assert -6.001 < min(decibels) < -5 and 5 < max(decibels) < 6.001


def test_statistics_are_those_of_the_frames() -> None:
    found = waves(2, 6000)
    centres = torch.cat([FEATURES.silence[None], FEATURES.log_bands(found[0][None])[0, ::24]])
    book = count_frames(FEATURES, clips(found), centres, 8.0)
    bands = torch.cat([FEATURES.log_bands(wave[None])[0] for wave in found]).double()
    full = torch.cat([FEATURES.log_power(wave[None])[0] for wave in found]).double()
    codes = nearest_codes(bands.float(), centres)[0]
    assert book.count.tolist() == torch.bincount(codes, minlength=5).tolist()
    assert int(book.count[1:].min()) > 1
    within = torch.zeros(60, dtype=torch.float64)
    for code in range(1, 5):
        mine = bands[codes == code]
        torch.testing.assert_close(book.mean[code].double(), mine.mean(0), rtol=0, atol=1e-4)
        expected = full[codes == code].mean(0)
        torch.testing.assert_close(book.log_power[code].double(), expected, rtol=0, atol=1e-4)
        within += (mine - mine.mean(0)).square().sum(0)
    pooled = within / int(book.count[1:].sum())
    for code in range(1, 5):
        mine = bands[codes == code]
        scatter = (mine - mine.mean(0)).square().sum(0)
        expected = (scatter + 8 * pooled) / (len(mine) + 8)
        torch.testing.assert_close(book.variance[code].double(), expected, rtol=1e-3, atol=1e-5)


def test_code_zero_is_silence() -> None:
    book = make_book(FEATURES, clips(waves()), 6, TRAIN, generator())
    torch.testing.assert_close(book.mean[0], FEATURES.silence)
    # Full resolution has the same floor in every bin.
    floor = torch.full((129,), math.log(FEATURES.bin_floor))
    torch.testing.assert_close(book.log_power[0], floor)
    silent = FEATURES.log_bands(torch.zeros(1, 100))[0]
    assert nearest_codes(silent, book.mean)[0].tolist() == [0, 0]


def test_codes_without_frames_stand_for_their_centres() -> None:
    found = waves(1)
    centres = torch.stack([FEATURES.silence, FEATURES.log_bands(found[0][None])[0, 3]])
    far = centres[1:] + 1000
    book = count_frames(FEATURES, clips(found), torch.cat([centres, far]), 8.0)
    assert int(book.count[2]) == 0
    torch.testing.assert_close(book.mean[2], far[0])
    torch.testing.assert_close(book.log_power[2], FEATURES.spread(far)[0])
    pooled = book.variance[1]  # one code has frames besides silence: the pooled variance is its own
    torch.testing.assert_close(book.variance[2], pooled, rtol=1e-4, atol=1e-6)


def test_fewer_frames_clustered_than_counted() -> None:
    found = clips(waves(4, 20_000))
    settings = TRAIN.model_copy(update={"max_frames": 200})
    book = make_book(FEATURES, found, 6, settings, generator())
    assert int(book.count.sum()) == found.n_frames > 1000
    assert book.mean.isfinite().all() and book.variance.min() > 0


def test_a_book_explains_its_own_codes() -> None:
    found = waves(3, 6000)
    few, many = (make_book(FEATURES, clips(found), k, TRAIN, generator()) for k in (4, 32))
    coarse, fine = (measure(FEATURES, book, found) for book in (few, many))
    assert fine["distortion"] < coarse["distortion"] and fine["snr"] > coarse["snr"]
    bands = torch.cat([FEATURES.log_bands(wave[None])[0] for wave in found])
    codes = nearest_codes(bands, few.mean)[0]
    error = bands - few.mean[codes]
    rms = float(error.double().square().mean().sqrt())
    assert coarse["distortion"] == pytest.approx(10 / math.log(10) * rms, rel=1e-4)
    spread = float((bands - bands.mean(0)).double().square().mean())
    assert coarse["snr"] == pytest.approx(10 * math.log10(spread / rms**2), rel=1e-4)
    assert coarse["codes_used"] == len(codes.unique()) / 4


def test_too_little_audio() -> None:
    with pytest.raises(AudioError, match="47 frames cannot give 48 codes"):
        make_book(FEATURES, clips(waves(1)), 48, TRAIN, generator())


def test_silent_stems_give_a_codec() -> None:
    book = make_book(FEATURES, clips([torch.zeros(3000)]), 6, TRAIN, generator())
    assert all(tensor.isfinite().all() for tensor in book.tensors().values())
    assert int(book.count.sum()) == 47
    # All codes are silence; float32 of a logarithm.
    torch.testing.assert_close(book.mean, FEATURES.silence.expand(6, -1))


CONFIGURATION = """
version = 1
[codec]
type = "spectral-vq"
sample_rate = 4000
n_fft = 256
hop_length = 64
n_bands = 60
codebook_size = 12
[sources.drums]
prior = { type = "ngram" }
[sources.bass]
prior = { type = "ngram" }
[likelihood]
type = "codebook-sum"
[sampler]
type = "ancestral"
[selector]
type = "mean"
[data.train]
type = "synthetic"
n_tracks = 3
duration_s = 2.0
[data.validation]
type = "synthetic"
n_tracks = 1
seed = 9
[train.codec]
iterations = 4
versions = 2
"""


def test_a_model_directory_from_the_command_line(tmp_path: Path) -> None:
    config, model = tmp_path / "pipeline.toml", tmp_path / "model"
    config.write_text(CONFIGURATION)
    for part in ("codec", "prior"):
        result = CliRunner().invoke(cli, ["train", part, "--config", str(config), "-o", str(model)])
        assert result.exit_code == 0, result.output
    assert set(verify_model(model)) == {
        "codec.safetensors",
        "prior.drums.safetensors",
        "prior.bass.safetensors",
    }
    loaded = load_model(model, device="cpu")
    assert isinstance(loaded.codec, SpectralCodec)
    assert loaded.priors["drums"].info.codebook_size == 12
    text = (model / "model.toml").read_text(encoding="utf-8")
    assert "distortion_drums" in text and "iterations = 4" in text
