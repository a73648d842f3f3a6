"""Arrays and stretches as inputs."""

import numpy as np
import pytest

from lqsep.core.audio.mixtures import ArrayReader, SliceReader
from lqsep.core.errors import AudioError, ShapeError


def test_an_array_of_one_axis_is_mono():
    reader = ArrayReader([0.0, 0.5, 1.0], 8000)
    assert (reader.channels, reader.n_samples) == (1, 3)
    assert reader.read(1, 3).tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize(
    ("wave", "rate", "error", "words"),
    [
        (np.zeros((1, 2, 3)), 8000, ShapeError, "channels, samples"),
        (np.zeros((1000, 2)), 8000, ShapeError, "transpose"),
        (np.zeros((2, 0)), 8000, AudioError, "no samples"),
        ([0.0, np.nan], 8000, AudioError, "not finite"),
        ([0.0], 0, AudioError, "sample rate"),
        ([0.0], 44100.5, AudioError, "sample rate"),
    ],
)
def test_wrong_arrays_are_refused(wave, rate, error, words):
    with pytest.raises(error, match=words):
        ArrayReader(wave, rate)


def test_a_stretch_has_the_rounded_number_of_samples():
    reader = ArrayReader(np.arange(1000), 100)
    part = SliceReader(reader, 2.0, 0.555)
    assert part.n_samples == round(0.555 * 100)
    assert part.read(0, part.n_samples)[0, 0] == 200
    assert part.read(0, 10_000).shape == (1, part.n_samples)


def test_a_stretch_beyond_the_end_stops_there_or_is_refused():
    reader = ArrayReader(np.arange(1000), 100)
    assert SliceReader(reader, 9.0, 5.0).n_samples == 100
    for start, duration in [(10.0, None), (11.0, 1.0), (1.0, 0.0), (-1.0, 1.0)]:
        with pytest.raises(AudioError, match="no samples from"):
            SliceReader(reader, start, duration)
