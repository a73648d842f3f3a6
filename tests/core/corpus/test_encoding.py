from dataclasses import replace

import numpy as np
import pytest
import torch

from lqsep.core.audio.resampling import resample
from lqsep.core.corpus.encoding import encode_source
from lqsep.core.corpus.variation import Variation
from lqsep.core.errors import AudioError
from lqsep.core.interfaces.dataset import Dataset, Track
from lqsep.testing.toys import AddingCodec

CPU = torch.device("cpu")


class Tracks(Dataset):
    """Waves given as arrays, all as the stem ``bass``."""

    sources = ("drums", "bass")

    def __init__(self, waves, sample_rate=8000):
        self._waves, self._sample_rate = waves, sample_rate

    def __len__(self):
        return len(self._waves)

    def __getitem__(self, index):
        wave = np.asarray(self._waves[index], np.float32)
        silence = np.zeros_like(wave)
        return Track(f"track-{index}", self._sample_rate, None, {"drums": silence, "bass": wave})


def encode(dataset, codec, **settings):
    place = {"index": 1, "gains": (0.5, 0.25), "device": CPU}
    return list(encode_source(dataset, "bass", codec, **place, **settings))


@pytest.fixture
def codec():
    return AddingCodec([0.0, 0.1, 0.2, 0.3, 0.4])


def levels(*codes):
    return np.repeat(0.1 * np.array(codes), 4)[None]


def test_codes_of_every_track(codec):
    found = encode(Tracks([levels(1, 2, 3), levels(4)]), codec)
    assert [codes.tolist() for codes in found] == [[1, 2, 3], [4]]
    assert all(codes.dtype == torch.int64 for codes in found)


def test_channels_are_averaged(codec):
    stereo = np.concatenate([levels(1, 4), levels(3, 0)])
    assert encode(Tracks([stereo]), codec)[0].tolist() == [2, 2]


def test_other_rates_are_resampled(codec):
    wave = np.repeat(np.array([0.1, 0.3, 0.2, 0.4]), 400)[None].astype(np.float32)
    expected = codec.encode(resample(torch.from_numpy(wave), 16000, 8000)[None])[0]
    assert torch.equal(encode(Tracks([wave], 16000), codec)[0], expected)
    assert len(expected) == 200


def test_stems_stand_at_the_level_of_the_codec(codec):
    # Mixtures at RMS 0.1 hold stems at 0.1 / hypot(0.5, 0.25), whatever the stem's own level.
    level = 0.1 / np.hypot(0.5, 0.25)
    loud = AddingCodec([0.0, level / 2, level])
    loud.info = replace(loud.info, level=0.1)
    for scale in (0.01, 1.0):
        wave = scale * np.repeat([1.0, 1.0, 1.0, 1.0], 4)[None]
        assert encode(Tracks([wave]), loud)[0].tolist() == [2, 2, 2, 2]


def test_long_tracks_are_encoded_in_parts(codec, monkeypatch):
    wave = levels(*range(5), *range(5))
    # Two and a half frames: parts start at whole frames.
    monkeypatch.setattr("lqsep.core.corpus.encoding._CHUNK_S", 2.5 * 4 / 8000)
    sizes = []
    plain = codec.encode
    codec.encode = lambda wave, source: (sizes.append(wave.shape[-1]), plain(wave, source))[1]
    assert encode(Tracks([wave]), codec)[0].tolist() == [*range(5), *range(5)]
    assert sizes == [8] * 5


def test_versions_are_shifted_by_less_than_a_frame(codec):
    codec = AddingCodec([k / 100 for k in range(101)], hop_length=50)
    wave = np.linspace(0, 1, 1000)[None]
    settings = {"versions": 5, "generator": torch.Generator().manual_seed(0)}
    first, *others = encode(Tracks([wave]), codec, **settings)
    assert torch.equal(first, encode(Tracks([wave]), codec)[0])
    offsets = {int((other[:19] - first[:19]).median()) for other in others}
    # A frame is five codes long.
    assert len(offsets) > 1 and offsets <= set(range(6))
    again = encode(Tracks([wave]), codec, versions=5, generator=torch.Generator().manual_seed(0))
    assert all(map(torch.equal, again, [first, *others]))


def test_a_skipped_beginning_changes_nothing_behind_it(codec):
    codec = AddingCodec([k / 100 for k in range(101)])
    tracks = Tracks([np.linspace(0, 1, n)[None] for n in (400, 600)])

    def encoded(skip):
        generator = torch.Generator().manual_seed(0)
        varied = Variation(gain_db=3.0)
        return encode(tracks, codec, versions=3, variation=varied, generator=generator, skip=skip)

    whole = encoded(0)
    assert len(whole) == 6
    for skip in range(7):
        rest = encoded(skip)
        assert len(rest) == 6 - skip and all(map(torch.equal, rest, whole[skip:]))


def test_versions_change_in_level(codec):
    codec = AddingCodec([k / 100 for k in range(101)])
    wave = np.full((1, 40), 0.5)
    settings = {
        "versions": 30,
        "variation": Variation(gain_db=3.0),
        "generator": torch.Generator().manual_seed(0),
    }
    codes = torch.stack([v[5] for v in encode(Tracks([wave]), codec, **settings)])
    assert codes[0] == 50
    # 3 dB are a factor of 1.41.
    assert 35 <= codes.min() < 40 and 63 < codes.max() <= 71


def test_a_track_shorter_than_a_frame(codec):
    wave = np.full((1, 1), 0.1)
    settings = {"versions": 3, "generator": torch.Generator().manual_seed(0)}
    assert [len(codes) for codes in encode(Tracks([wave]), codec, **settings)] == [1, 1, 1]


def test_no_audio(codec):
    with pytest.raises(AudioError, match="no audio found for bass"):
        encode(Tracks([]), codec)
