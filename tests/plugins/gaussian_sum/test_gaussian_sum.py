"""The likelihood ``gaussian-sum``: its values, its warnings, and how it is built."""

import math
from pathlib import Path

import pytest
import torch

from lqsep.core.components.assemble import build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.plugins.gaussian_sum import plugin
from lqsep.plugins.gaussian_sum.calibration import Calibration, save_calibration
from lqsep.plugins.gaussian_sum.config import GaussianSumConfig
from lqsep.plugins.gaussian_sum.likelihood import GaussianSumLikelihood
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import LikelihoodContract
from lqsep.testing.toys import AddingCodec, enumerate_posterior, random_markov_prior

GAINS = (0.7, 0.3)
NO_HISTORY = torch.zeros(1, 2, 0, dtype=torch.int64)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def calibration(dim: int = 3, kind: str = "full", gains=GAINS) -> Calibration:
    root = normal(2, dim, dim).double()
    covariance = root @ root.T / 4 + 0.1 * torch.eye(dim).double()
    if kind == "diagonal":
        covariance = covariance.diagonal()
    return Calibration(normal(3, dim).double() / 4, covariance, gains, "codec", 100)


def encoded(n_frames: int = 4, dim: int = 3) -> EncodedMixture:
    return EncodedMixture(torch.zeros(1, 64 * n_frames), normal(1, n_frames, dim), None, 1.0)


class TestFull(LikelihoodContract):
    gains = GAINS

    def make(self) -> GaussianSumLikelihood:
        return GaussianSumLikelihood(normal(0, 12, 3), normal(5, 9, 3), calibration())

    def make_encoded(self) -> EncodedMixture:
        return encoded()


class TestDiagonal(TestFull):
    def make(self) -> GaussianSumLikelihood:
        return GaussianSumLikelihood(
            normal(0, 12, 3), normal(5, 9, 3), calibration(kind="diagonal")
        )


class TestSharp(TestFull):
    """Far from what any pair explains: values of some thousand nats."""

    def make(self) -> GaussianSumLikelihood:
        return GaussianSumLikelihood(
            normal(0, 12, 3), normal(5, 9, 3), calibration(), temperature=0.001
        )


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("gains", [GAINS, (0.2, 0.9)])
def test_values(kind: str, gains) -> None:
    """The Gaussian written out with torch's own, less its normaliser."""
    first, second = normal(0, 12, 3), normal(5, 9, 3)
    noise, mixture = calibration(kind=kind, gains=gains), encoded()
    full = noise.covariance if kind == "full" else noise.covariance.diag()
    gaussian = torch.distributions.MultivariateNormal(noise.mean, full)
    likelihood = GaussianSumLikelihood(first, second, noise, temperature=1.7)
    for bound_gains in (gains, (0.5, 0.5), gains):
        bound = likelihood.bind(mixture, bound_gains)
        sums = bound_gains[0] * first.double()[:, None] + bound_gains[1] * second.double()
        for frame in range(4):
            rest = mixture.latents[frame].double() - sums
            expected = (gaussian.log_prob(rest) - gaussian.log_prob(noise.mean)) / 1.7
            codes = torch.arange(12)
            found = bound.at(frame, NO_HISTORY).rows(torch.zeros_like(codes), codes)
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert bound.frames(2, 2).shape == (0, 12, 9)


def test_the_sum_with_the_least_noise_wins() -> None:
    """A mixture of codes 4 and 7 plus the mean noise is explained by them without rest."""
    first, second = normal(0, 12, 3), normal(5, 9, 3)
    noise = calibration()
    latent = GAINS[0] * first[4] + GAINS[1] * second[7] + noise.mean.float()
    mixture = EncodedMixture(torch.zeros(1, 64), latent[None], None, 1.0)
    frame = GaussianSumLikelihood(first, second, noise).bind(mixture, GAINS).at(0, NO_HISTORY)
    i, j, value = frame.pairs(0, 1e-6)
    assert (i.tolist(), j.tolist()) == ([4], [7])
    assert float(value[0]) == pytest.approx(0, abs=1e-6)


def test_large_codebooks_are_not_listed() -> None:
    def bound(size: int):
        codebook = normal(0, size, 3)
        return GaussianSumLikelihood(codebook, codebook, calibration()).bind(encoded(1), GAINS)

    assert bound(513).frames(0, 1) is None
    assert bound(512).frames(0, 1).shape == (1, 512, 512)


def test_samplers_run_on_it() -> None:
    """The beam finds the best sequence; draws have the exact evidence of every frame."""
    generator = torch.Generator().manual_seed(0)
    priors = [random_markov_prior(size, generator) for size in (4, 3)]
    likelihood = GaussianSumLikelihood(normal(0, 4, 3), normal(5, 3, 3), calibration())
    posterior = SequencePosterior(priors, likelihood.bind(encoded(3), GAINS))
    exact = enumerate_posterior(posterior)
    beam = BeamSampler(beam_width=200).sample(posterior, generator=generator)
    assert torch.equal(beam.codes[:, 0], exact.codes[exact.log_joint.argmax()])
    torch.testing.assert_close(
        beam.log_posterior[0].double(), exact.log_joint.max(), rtol=0, atol=1e-4
    )
    drawn = AncestralSampler(n_candidates=5).sample(posterior, generator=generator)
    assert drawn.codes.shape == (2, 5, 3)
    assert bool(drawn.log_likelihood.isfinite().all())


def test_other_gains_are_told() -> None:
    likelihood = GaussianSumLikelihood(normal(0, 12, 3), normal(5, 9, 3), calibration())
    assert likelihood.bind(encoded(), GAINS).warnings == ()
    (warning,) = likelihood.bind(encoded(), (0.5, 0.5)).warnings
    assert "measured at gains 0.7 and 0.3 and is used at 0.5 and 0.5" in warning


def test_what_does_not_fit() -> None:
    likelihood = GaussianSumLikelihood(normal(0, 12, 3), normal(5, 9, 3), calibration())
    with pytest.raises(IncompatibleComponentsError, match="works on 2 sources, got 3"):
        likelihood.bind(encoded(), (0.3, 0.3, 0.4))
    with pytest.raises(IncompatibleComponentsError, match="expected latents of 3 dimensions"):
        likelihood.bind(encoded(dim=2), GAINS)
    with pytest.raises(CheckpointError, match="expected a calibration of 3 dimensions, got 2"):
        GaussianSumLikelihood(normal(0, 12, 3), normal(5, 9, 3), calibration(2))


def build_from(folder: Path, codec: AddingCodec, **changes) -> GaussianSumLikelihood:
    registry = Registry.from_plugins(gaussian_sum=plugin)
    assert not registry.problems
    config = GaussianSumConfig(temperature=1.5)
    registered = registry.find(Kind.LIKELIHOOD, "gaussian-sum")
    facts = {"gains": GAINS, "codec": codec, **changes}
    return build(registered, config, build_context(folder, **facts))


def test_build(tmp_path: Path) -> None:
    codec = AddingCodec((0.0, 0.25, 0.5))
    noise = Calibration(
        torch.zeros(1).double(), torch.ones(1, 1).double() / 4, GAINS, codec.fingerprint, 9
    )
    with pytest.raises(CheckpointError, match="no calibration at .*") as error:
        build_from(tmp_path, codec)
    assert f"`lqsep sums {tmp_path} --calibrate --data DIR`" in str(error.value)
    assert "\n" not in str(error.value)
    digest = save_calibration(tmp_path / "calibration.safetensors", noise)
    for hashes in (None, {}, {"calibration.safetensors": digest}):
        likelihood = build_from(tmp_path, codec, hashes=hashes)
        mixture = EncodedMixture(torch.zeros(1, 4), torch.tensor([[0.5]]), None, 1.0)
        frame = likelihood.bind(mixture, GAINS).at(0, NO_HISTORY)
        found = frame.at(torch.zeros(1, dtype=torch.int64), torch.tensor([[1, 2]]))
        rest = 0.5 - 0.7 * 0.25 - 0.3 * 0.5
        assert float(found) == pytest.approx(-(rest**2) / 2 * 4 / 1.5, rel=1e-6)
    with pytest.raises(CheckpointError, match="not the file"):
        build_from(tmp_path, codec, hashes={"calibration.safetensors": "0" * 64})
    with pytest.raises(CheckpointError, match="another codec"):
        build_from(tmp_path, AddingCodec((0.0, 0.5, 1.0)))
    with pytest.raises(IncompatibleComponentsError, match="works on 2 sources, got 1"):
        build_from(tmp_path, codec, sources=("drums",), gains=(1.0,))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_wrong_temperatures(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        GaussianSumConfig(temperature=temperature)
