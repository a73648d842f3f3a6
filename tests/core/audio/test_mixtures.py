"""Files, arrays and stretches as inputs."""

import io

import numpy as np
import pytest
import torch

from lqsep.core.audio.files import write_audio
from lqsep.core.audio.mixtures import ArrayReader, FileReader, SliceReader, opened_mixture
from lqsep.core.errors import AudioError, LqsepError


def ramp(n_samples=1000):
    return np.arange(n_samples, dtype=np.float32) / n_samples


def test_an_array_of_one_axis_is_mono():
    reader = ArrayReader([0.0, 0.5, 1.0], 8000)
    assert (reader.channels, reader.n_samples) == (1, 3)
    assert reader.read(1, 3).tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize("rate", [0, -8000, 44_100.5, 999, 1_000_001, np.nan, "44100", True, None])
def test_wrong_rates_are_refused(rate):
    with pytest.raises(AudioError, match="sample rate"):
        ArrayReader([0.0], rate)


def test_rates_of_other_number_types_are_taken():
    assert [ArrayReader([0.0], rate).sample_rate for rate in (8000.0, np.int16(8000))] == [8000] * 2


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_read_is_the_callers_own(tmp_path, extension, channels):
    wave = np.tile(0.5 * np.sin(2 * np.pi * 100 / 8000 * np.arange(20_000)), (channels, 1))
    write_audio(tmp_path / f"a.{extension}", wave, 8000)
    array = wave.astype(np.float32)
    with FileReader(tmp_path / f"a.{extension}") as file:
        for reader in (file, ArrayReader(array, 8000), SliceReader(file, 0.0, 2.5)):
            first = reader.read(1000, 9000)
            kept = first.copy()
            first[:] = 7  # and the reader does not notice
            assert np.abs(reader.read(1000, 9000) - kept).max() < 1e-6
            assert np.abs(reader.read(5000, 9000) - kept[:, 4000:]).max() < 1e-6


def test_a_stretch_has_the_rounded_number_of_samples():
    reader = ArrayReader(ramp(), 1000)
    part = SliceReader(reader, 0.2, 0.0555)
    assert part.n_samples == round(0.0555 * 1000)
    assert part.read(0, part.n_samples)[0, 0] == np.float32(0.2)
    assert part.read(0, 10_000).shape == (1, part.n_samples)


def test_a_stretch_beyond_the_end_stops_there_or_is_refused():
    reader = ArrayReader(ramp(), 1000)
    assert SliceReader(reader, 0.9, 5.0).n_samples == 100
    for start, duration in [(1.0, None), (1.1, 1.0), (0.1, 0.0), (-0.1, 1.0)]:
        with pytest.raises(AudioError, match="no samples from"):
            SliceReader(reader, start, duration)


def test_a_file_that_is_opened_is_closed_whatever_happens(tmp_path):
    write_audio(tmp_path / "song.wav", ramp(), 8000)
    for path in (tmp_path / "song.wav", str(tmp_path / "song.wav")):
        with pytest.raises(KeyboardInterrupt):
            with opened_mixture(path) as reader:
                assert (reader.name, reader.n_samples, reader.sample_rate) == ("song", 1000, 8000)
                raise KeyboardInterrupt
        with pytest.raises(AudioError, match="closed"):
            reader.read(0, 10)


def test_a_reader_that_is_given_stays_open(tmp_path):
    write_audio(tmp_path / "song.wav", ramp(), 8000)
    with FileReader(tmp_path / "song.wav") as file:
        with opened_mixture(file) as reader:
            assert reader is file
        assert file.read(0, 10).shape == (1, 10)


def test_a_wave_with_its_rate_is_a_mixture():
    for wave in (ramp(), ramp().tolist(), torch.from_numpy(ramp())):
        with opened_mixture((wave, 8000)) as reader:
            assert reader.read(500, 501)[0, 0] == 0.5


@pytest.mark.parametrize(
    ("mixture", "words"),
    [
        (ramp(), r"an array of shape \(1000,\): its sample rate is not known"),
        (torch.zeros(2, 9), r"an array of shape \(2, 9\): its sample rate is not known"),
        ([0.0, 0.1], "a list: its sample rate is not known"),
        (io.BytesIO(b"RIFF"), "an open file: expected a path, .*, got BytesIO; pass its path"),
        (None, "separating NoneType: expected a path"),
        (7, "separating int: expected a path"),
        ((ramp(), 8000, "song"), r"expected \(wave, sample_rate\), got 3 values"),
        ((8000, ramp()), "got them the other way round"),
        ((ramp(), None), "sample rate must be a positive integer in Hz, got None"),
        ((torch.zeros(9, requires_grad=True), 8000), "needs a gradient"),
        (("song.wav", 8000), "expected an array of real numbers"),
        ("", "cannot read"),
    ],
)
def test_what_is_no_mixture_gets_one_line(mixture, words):
    with pytest.raises(LqsepError, match=words) as caught:
        with opened_mixture(mixture):
            pass
    assert "\n" not in str(caught.value)
