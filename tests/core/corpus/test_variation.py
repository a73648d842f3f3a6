"""Copies of training waves: level, equaliser, pitch."""

import math

import pytest
import torch

from lqsep.core.corpus.variation import Variation

RATE = 22_050


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tone(hz, duration_s=1.0):
    return torch.sin(2 * torch.pi * hz * torch.arange(round(duration_s * RATE)) / RATE)


def peak_hz(wave):
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave))).abs()
    return int(spectrum.argmax()) * RATE / len(wave)


def rms(wave):
    return float(wave.square().mean().sqrt())


def test_the_same_generator_gives_the_same_copy():
    variation, wave = Variation(6.0, 6.0, 4.0), torch.randn(5000, generator=generator())
    first, second, other = (variation.copy(wave, RATE, 512, generator(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_nothing_to_vary_leaves_a_shift():
    wave = torch.randn(5000, generator=generator())
    copy = Variation().copy(wave, RATE, 512, generator(3))
    shift = 5000 - len(copy)
    assert 0 <= shift < 512
    assert torch.equal(copy, wave[shift:])


def test_pitch_and_length_change_together():
    wave = tone(1000.0)
    ratios = []
    for seed in range(30):
        copy = Variation(semitones=4.0).copy(wave, RATE, 1, generator(seed))
        ratio = peak_hz(copy) / 1000
        # Lengths are such that transforms are fast, so ratios are rounded; both agree.
        assert len(wave) / len(copy) == pytest.approx(ratio, rel=0.002)
        assert rms(copy) == pytest.approx(rms(wave), rel=1e-3)
        # Nothing but the tone, away from the ends.
        middle = slice(2000, len(copy) - 2000)
        assert rms(copy[middle]) == pytest.approx(math.sqrt(0.5), rel=0.02)
        ratios.append(12 * math.log2(ratio))
    # Rounding takes up to half a semitone off.
    assert -4.7 < min(ratios) < -3 and 3 < max(ratios) < 4.4


def test_the_equaliser_keeps_the_level_and_stays_in_its_range():
    wave = torch.randn(1 << 16, generator=generator())
    powers = torch.fft.rfft(wave).abs().square().split(1024)
    ranges = []
    for seed in range(20):
        copy = Variation(eq_db=6.0).copy(wave, RATE, 1, generator(seed))
        assert len(copy) == len(wave)
        assert rms(copy) == pytest.approx(rms(wave), rel=1e-4)
        changed = torch.fft.rfft(copy).abs().square().split(1024)
        decibels = [
            10 * math.log10(a.sum() / b.sum()) for a, b in zip(changed, powers, strict=True)
        ][:-1]  # The last one has a single bin.
        ranges.append(max(decibels) - min(decibels))
    # Tilt and three bells of 6 dB each, seen in bands of 344 Hz.
    assert 1 < sorted(ranges)[10] < 15 and max(ranges) < 48


def test_silence_and_short_waves():
    variation = Variation(6.0, 6.0, 4.0)
    assert not variation.copy(torch.zeros(3000), RATE, 512, generator()).any()
    assert len(variation.copy(torch.ones(1), RATE, 512, generator())) == 1
    assert len(variation.copy(torch.zeros(0), RATE, 512, generator())) == 0
