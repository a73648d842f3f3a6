"""Waves handed over in memory: types, scales, shapes."""

import numpy as np
import pytest
import torch

from lqsep.core.audio.inputs.arrays import as_wave
from lqsep.core.errors import AudioError, ShapeError


@pytest.mark.parametrize(
    ("kind", "samples"),
    [
        ("int8", [-128, 0, 64]),
        ("uint8", [0, 128, 192]),
        ("int16", [-(2**15), 0, 2**14]),
        ("int32", [-(2**31), 0, 2**30]),
        ("float16", [-1.0, 0.0, 0.5]),
        ("float32", [-1.0, 0.0, 0.5]),
        ("float64", [-1.0, 0.0, 0.5]),
    ],
)
@pytest.mark.parametrize(
    "make", [np.array, lambda values, kind: torch.from_numpy(np.array(values, kind))]
)
def test_integers_have_the_full_scale_of_their_type(kind, samples, make):
    wave = as_wave(make(samples, kind), "song")
    assert wave.dtype == np.float32
    assert wave.tolist() == [[-1.0, 0.0, 0.5]]


def test_bfloat16_is_taken_too():
    assert as_wave(torch.tensor([0.5], dtype=torch.bfloat16), "song").tolist() == [[0.5]]


@pytest.mark.parametrize("kind", ["bool", "uint16", "uint32", "int64", "uint64"])
def test_other_integers_have_no_known_scale(kind):
    with pytest.raises(AudioError, match=f"song: samples of type {kind} have no known full scale"):
        as_wave(np.ones(10, kind), "song")


@pytest.mark.parametrize("peak", [1, 2**15, 2**23])
def test_32_bits_that_may_be_24_or_16_are_refused(peak):
    with pytest.raises(AudioError, match=f"int32 up to {peak} only: 32 bits at a very low level"):
        as_wave(np.array([0, -peak], np.int32), "song")


def test_silence_and_32_bits_that_are_used_are_not_ambiguous():
    assert as_wave(np.zeros(3, np.int32), "song").tolist() == [[0, 0, 0]]
    assert as_wave(np.array([2**23 + 1], np.int32), "song")[0, 0] == pytest.approx(2**-8)


def test_integers_as_floats_are_refused():
    with pytest.raises(AudioError, match="floats up to 20311, where 1 is full scale; .*32768"):
        as_wave(np.array([0.0, -20311.0]), "song")
    assert as_wave(np.array([8.0]), "song")[0, 0] == 8  # too loud, but of this scale


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (np.zeros((1, 2, 3)), ShapeError, r"expected an array \[channels, samples\]"),
        (np.float32(0.5), ShapeError, "got shape"),
        (np.zeros((1000, 2)), ShapeError, "transpose"),
        (np.zeros((2, 0)), AudioError, "no samples"),
        ([0.0, np.nan], AudioError, "not finite"),
        ([0.0, -np.inf], AudioError, "not finite"),
        (np.array([1e300]), AudioError, "not finite"),
        ([[0.0], [0.0, 0.1]], AudioError, "expected an array of numbers"),
        ([0.1j], AudioError, "expected an array of real numbers, got an array of complex128"),
        ("song.wav", AudioError, "expected an array of real numbers, got an array of <U8"),
        (None, AudioError, "expected an array of real numbers, got NoneType"),
        (torch.zeros(5, requires_grad=True), AudioError, r"needs a gradient.* tensor.detach\(\)"),
    ],
)
def test_what_is_no_wave_gets_one_line(values, error, words):
    with pytest.raises(error, match=words) as caught:
        as_wave(values, "song")
    assert str(caught.value).startswith("song") and "\n" not in str(caught.value)
