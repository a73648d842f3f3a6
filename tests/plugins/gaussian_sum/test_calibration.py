"""The measured noise: its covariance, the mixtures it is measured on, its file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lqsep.core.errors import CheckpointError
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.dataset import Dataset, Track
from lqsep.core.store.weights import save_weights
from lqsep.plugins.gaussian_sum.calibration import (
    Calibration,
    load_calibration,
    measure_noise,
    save_calibration,
    shrunk_covariance,
)
from lqsep.testing.toys import AddingCodec


def covariance_of(n_frames: int, dim: int = 6, seed: int = 0):
    """A covariance and noise drawn from it."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    truth = root @ root.T + 0.2 * torch.eye(dim)
    white = torch.randn(n_frames, dim, generator=generator, dtype=torch.float64)
    return truth, white @ torch.linalg.cholesky(truth).T + torch.arange(dim)


def test_many_frames_give_the_covariance() -> None:
    truth, noise = covariance_of(200_000)
    mean, covariance = shrunk_covariance(noise, "full")
    # Entries of some units, from 200,000 independent frames: errors of some 1e-2.
    torch.testing.assert_close(mean, torch.arange(6).double(), rtol=0, atol=0.05)
    torch.testing.assert_close(covariance, truth, rtol=0, atol=0.15)
    mean, variance = shrunk_covariance(noise, "diagonal")
    torch.testing.assert_close(variance, covariance.diagonal(), rtol=1e-12, atol=0)


def test_few_frames_are_shrunk() -> None:
    """Shrinking helps where there are fewer frames than dimensions, and keeps it invertible."""
    better = 0
    for seed in range(10):
        truth, noise = covariance_of(10, dim=16, seed=seed)
        _, covariance = shrunk_covariance(noise, "full")
        assert float(torch.linalg.eigvalsh(covariance)[0]) > 0
        raw = noise.T.cov(correction=0)
        torch.testing.assert_close(covariance.diagonal(), raw.diagonal(), rtol=1e-12, atol=0)
        better += bool((covariance - truth).norm() < (raw - truth).norm())
    assert better >= 8


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_no_dimension_is_certain(kind) -> None:
    """Dimensions without noise, or none with any, still have a density."""
    _, noise = covariance_of(50)
    noise[:, 0] = 3.0
    for values in (noise, torch.zeros(50, 6), noise[:1]):
        mean, covariance = shrunk_covariance(values, kind)
        whitening = Calibration(mean, covariance, (0.5, 0.5), "", 1).whitening()
        assert bool(whitening.isfinite().all())
    _, covariance = shrunk_covariance(noise, kind)
    variance = covariance.diagonal() if kind == "full" else covariance
    assert float(variance[0]) == pytest.approx(1e-3 * float(noise.var(0, correction=0).mean()))


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_whitening(kind) -> None:
    truth, noise = covariance_of(1000)
    mean, covariance = shrunk_covariance(noise, kind)
    whitening = Calibration(mean, covariance, (0.5, 0.5), "", 1).whitening()
    full = covariance if kind == "full" else covariance.diag()
    torch.testing.assert_close(whitening @ full @ whitening.T, torch.eye(6).double())


class Constants(Dataset):
    """Stems of constant level: ``levels[source]`` per track, each as long as given."""

    sources = ("drums", "bass")

    def __init__(self, *levels: tuple[float, float], n_samples: int = 400) -> None:
        self.levels = levels
        self.n_samples = n_samples

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, index: int) -> Track:
        one = np.ones((1, self.n_samples), dtype=np.float32)
        stems = dict(zip(self.sources, [level * one for level in self.levels[index]], strict=True))
        return Track(str(index), 8000, None, stems)


class LoudCodec(AddingCodec):
    """Doubles what it analyses, and is given what would stand at that scale."""

    def analyse(self, wave: torch.Tensor) -> EncodedMixture:
        encoded = super().analyse(2 * wave)
        return EncodedMixture(encoded.wave, encoded.latents, encoded.codes, 2.0)


def measure(codec: AddingCodec, dataset: Dataset, gains=(0.5, 0.25), n_clips=3, clip_s=0.01):
    return measure_noise(
        dataset,
        ("drums", "bass"),
        codec,
        gains=gains,
        n_clips=n_clips,
        clip_s=clip_s,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(0),
    )


def test_noise_is_what_the_codes_leave() -> None:
    """0.3 and 0.45 are coded as 0.25 and 0.5: the mixture differs from the sum by their errors."""
    noise = measure(AddingCodec(), Constants((0.3, 0.45)))
    assert noise.shape == (60, 1)
    expected = 0.5 * (0.3 - 0.25) + 0.25 * (0.45 - 0.5)
    torch.testing.assert_close(noise, torch.full_like(noise, expected), rtol=0, atol=1e-6)


def test_sources_are_scaled_as_the_mixture() -> None:
    """At twice the level the sources are 0.3 and 0.45 again, from recordings half as loud."""
    noise = measure(LoudCodec(), Constants((0.15, 0.225)))
    expected = 0.5 * (0.3 - 0.25) + 0.25 * (0.45 - 0.5)
    torch.testing.assert_close(noise, torch.full_like(noise, expected), rtol=0, atol=1e-6)


def test_stems_are_brought_to_the_level_of_the_codecs_mixtures() -> None:
    codec = AddingCodec()
    # Of mixtures: their stems stand at 0.25.
    codec.info = replace(codec.info, level=0.25 * float(np.hypot(0.5, 0.25)))
    noise = measure(codec, Constants((0.1, 0.9)))
    torch.testing.assert_close(noise, torch.zeros_like(noise), rtol=0, atol=1e-6)


def test_clips_of_different_tracks_meet() -> None:
    """Nothing is learnt from which recordings belong together."""
    levels = [(0.0, 0.0), (0.07, 0.1)]
    noise = measure(AddingCodec(), Constants(*levels), gains=(0.5, 0.5), n_clips=40)
    found = {round(float(value), 4) for value in noise.unique()}
    assert found == {0.0, 0.035, 0.05, 0.085}


def test_clips_are_no_longer_than_the_recordings() -> None:
    noise = measure(AddingCodec(), Constants((0.3, 0.45), n_samples=40), clip_s=100.0)
    assert noise.shape == (30, 1)
    assert float(noise.abs().min()) > 0


def example(covariance: torch.Tensor | None = None) -> Calibration:
    if covariance is None:
        covariance = torch.eye(3).double() + 0.1
    return Calibration(torch.arange(3).double(), covariance, (0.7, 0.3), "codec", 1234)


@pytest.mark.parametrize("covariance", [None, torch.arange(1, 4).double()])
def test_a_calibration_survives_storage(tmp_path: Path, covariance) -> None:
    stored = example(covariance)
    digest = save_calibration(tmp_path / "c.safetensors", stored)
    found = load_calibration(tmp_path / "c.safetensors", sha256=digest)
    assert torch.equal(found.mean, stored.mean)
    assert torch.equal(found.covariance, stored.covariance)
    assert (found.gains, found.codec_fingerprint, found.n_frames) == ((0.7, 0.3), "codec", 1234)


@pytest.mark.parametrize(
    ("tensors", "metadata", "why"),
    [
        ({"mean": None}, {}, "'mean' is missing"),
        ({"covariance": None}, {}, "'covariance' is missing"),
        ({"covariance": torch.eye(2)}, {}, "do not fit"),
        ({"mean": torch.zeros(3, 3)}, {}, "do not fit"),
        ({"covariance": -torch.eye(3)}, {}, "not positive definite"),
        ({"covariance": torch.zeros(3)}, {}, "not positive definite"),
        ({"mean": torch.zeros(3, dtype=torch.int32)}, {}, "are integers"),
        ({}, {"gains": "[0.5]"}, "not a calibration"),
        ({}, {"gains": "5"}, "not a calibration"),
        ({}, {"n_frames": "many"}, "not a calibration"),
        ({}, {"codec_fingerprint": None}, "'codec_fingerprint' is missing"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, tensors, metadata, why: str) -> None:
    path = tmp_path / "other.safetensors"
    content = {"mean": torch.zeros(3), "covariance": torch.eye(3)} | tensors
    facts = {"gains": "[0.5, 0.5]", "n_frames": "9", "codec_fingerprint": "codec"} | metadata
    save_weights(
        path,
        {name: value for name, value in content.items() if value is not None},
        {name: value for name, value in facts.items() if value is not None},
    )
    with pytest.raises(CheckpointError, match=why) as error:
        load_calibration(path)
    assert "lqsep sums --calibrate" in str(error.value)


def test_missing_calibration(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights file"):
        load_calibration(tmp_path / "calibration.safetensors")
