"""What lies below hearing does not steer the separation, and is shared out evenly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lqsep.core.audio.mixtures import ArrayReader
from lqsep.core.interfaces.data import Mixture
from lqsep.core.separation.run import segment_generator
from lqsep.core.separation.separator import Separator
from lqsep.core.separation.unheard import HeardReader, heard

RATE = 44_100


@pytest.fixture(scope="module")
def separator(tiny_model):
    """Two segments and a bit; the refiners fit the stems to the mixture."""
    return Separator.from_pretrained(tiny_model, device="cpu", segment_s=1.0)


def noise(seconds=2.5, channels=2):
    shape = channels, round(seconds * RATE)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32) * np.float32(0.1)


def offsets(wave):
    """One per channel, the same for all samples."""
    return np.linspace(-0.02, 0.05, len(wave), dtype=np.float32)[:, None]


def stems_of(separator, wave, rate=RATE):
    return np.stack(list(separator.separate((wave, rate)).stems.values()))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_an_offset_is_shared_evenly_and_changes_nothing_else(separator, channels):
    wave = noise(channels=channels)
    plain, found = (stems_of(separator, x) for x in (wave, wave + offsets(wave)))
    # Float32 holds a value of 0.5 with an offset to 3e-8; spectra add to that.
    np.testing.assert_allclose(found - offsets(wave) / 2, plain, atol=1e-5, rtol=0)
    np.testing.assert_allclose(found.sum(0), wave + offsets(wave), atol=1e-6, rtol=0)


def test_so_it_is_in_a_segment_by_itself(separator):
    wave = torch.from_numpy(noise(1.0))
    offset = torch.from_numpy(offsets(wave))
    plain, found = (
        separator.separate_segment(Mixture(x, RATE), generator=segment_generator(0, 0))
        for x in (wave, wave + offset)
    )
    assert torch.equal(found.candidates.codes, plain.candidates.codes)
    torch.testing.assert_close(found.stems - offset / 2, plain.stems, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.encoded.wave, plain.encoded.wave, atol=1e-6, rtol=0)


def test_without_refiners_too(tiny_model):
    bare = Separator.from_pretrained(tiny_model, device="cpu", refiners=())
    wave = noise(1.0)
    plain, found = (stems_of(bare, x) for x in (wave, wave + offsets(wave)))
    np.testing.assert_allclose(found - offsets(wave) / 2, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate", [8000, RATE])
@pytest.mark.parametrize("seconds", [0.01, 2.5])
def test_an_offset_alone_is_silence(separator, rate, seconds):
    wave = np.zeros((2, round(rate * seconds)), np.float32) + np.float32([[0.01], [-0.03]])
    result = separator.separate((wave, rate))
    assert result.report.warnings == ()  # channels that cancel each other would be told
    for stem in result.stems.values():
        np.testing.assert_allclose(stem, wave / 2, atol=1e-9, rtol=0)


@pytest.mark.parametrize("n_samples", [1, 2, 100])
def test_hardly_a_sound(separator, n_samples):
    wave = noise(1.0)[:, :n_samples]
    stems = stems_of(separator, wave)
    assert stems.shape == (2, *wave.shape)
    np.testing.assert_allclose(stems.sum(0), wave, atol=1e-6, rtol=0)


def test_a_codec_that_hears_everything_gets_it(separator):
    wave = noise(0.5) + np.float32(0.3)
    assert np.array_equal(HeardReader(ArrayReader(wave, RATE), 0.0).read(5, 900), wave[:, 5:900])
    mixture = Mixture(torch.from_numpy(wave), RATE)
    assert heard(mixture, 0.0) is mixture
    split = heard(mixture, 20.0)
    assert heard(split, 20.0) is split
    assert replace(split, wave=mixture.wave, unheard=None) == mixture
