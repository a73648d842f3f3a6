"""Recordings brought to a mixture's form, read in stretches, summed, through the codec."""

import numpy as np
import pytest
import torch

from lqsep.core.audio.mixtures import ArrayReader
from lqsep.core.errors import AudioError
from lqsep.core.separation.references import SumReader, codec_round_trip, conform
from lqsep.testing.toys import AddingCodec


def noise(n_samples, channels=1, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(channels, n_samples)).astype(np.float32)


def test_one_channel_goes_to_all_and_several_to_their_mean():
    wave = noise(50, 2)
    stereo, mono = ArrayReader(wave, 8000), ArrayReader(wave[:1], 8000)
    assert np.array_equal(conform(mono, 8000, 2).read(3, 9), wave[[0, 0], 3:9])
    assert np.allclose(conform(stereo, 8000, 1).read(3, 9), wave[:, 3:9].mean(0), atol=1e-7)
    assert conform(stereo, 8000, 2) is stereo
    assert conform(mono, 4000, 2).read(0, 9).shape == (2, 9)
    with pytest.raises(AudioError, match="has 2 channels where 3 are needed"):
        conform(stereo, 8000, 3)


def test_a_sum_is_as_long_as_the_shortest():
    first, second = noise(50), noise(40, seed=1)
    mixture = SumReader([ArrayReader(first, 8000), ArrayReader(second, 8000)], (0.5, 2), "mix")
    assert (mixture.n_samples, mixture.name) == (40, "mix")
    found = mixture.read(30, 99)
    assert np.allclose(found, 0.5 * first[:, 30:40] + 2 * second[:, 30:], atol=1e-6)


def test_the_round_trip_is_made_at_the_codecs_scale():
    codec = AddingCodec([0.0, 0.4])
    wave, mixture = torch.full((2, 10), 0.15), torch.zeros(1, 40)
    # 0.15 is nearer to 0; brought to 0.45 it is 0.4, and 0.4 / 3 is what that stands for.
    for scale, expected in ((1.0, 0.0), (3.0, 0.4 / 3)):
        trip = codec_round_trip(codec, wave, mixture, 8000, 0, scale)
        assert trip.shape == (1, 10)
        assert torch.allclose(trip, torch.full((1, 10), expected))
    assert codec_round_trip(codec, torch.ones(2, 33), mixture, 16_000, 1, 1.0).shape == (1, 33)


class SignCodec(AddingCodec):
    """Its codes know no sign: the mixture's is taken."""

    def decode(self, codes, n_samples, source=None, mixture=None):
        assert mixture.shape == (1, n_samples)
        return super().decode(codes, n_samples) * mixture.sign()


def test_what_the_codes_do_not_hold_is_the_mixtures():
    mixture = torch.tensor([[1.0, 1, -1, -1, 1, -1, 1, -1]])
    # Also of a recording that ends before the mixture.
    for n_samples in (8, 4):
        wave = torch.full((1, n_samples), 0.4)
        trip = codec_round_trip(SignCodec([0.0, 0.4]), wave, mixture, 8000, 0, 1.0)
        assert torch.allclose(trip, 0.4 * mixture[:, :n_samples])
