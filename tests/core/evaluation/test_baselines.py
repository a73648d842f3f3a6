import pytest
import torch

from lqsep.core.errors import ShapeError
from lqsep.core.evaluation.baselines import (
    HPSS_GRID,
    _median_filter,
    best_hpss,
    hpss,
    oracle_masks,
    share_mixture,
)
from lqsep.core.signal.metrics import sdr, windowed_sdr
from lqsep.plugins.datasets.synthetic import SyntheticDataset

RATE = 22_050


def clicks_and_tone(rate=RATE, channels=1):
    """A steady chord and a click every quarter of a second: ``2 channels samples``."""
    time = torch.arange(2 * rate) / rate
    tone = sum(0.1 * torch.sin(2 * torch.pi * hz * time) for hz in (440, 1320, 2000))
    clicks = torch.zeros_like(time)
    clicks[:: rate // 4] = 1
    sides = torch.linspace(1, 0.5, channels)[:, None]
    return torch.stack([tone * sides, clicks * sides])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44_100])
def test_hpss_tells_tones_from_clicks(rate, channels):
    parts = clicks_and_tone(rate, channels)
    found = hpss(parts.sum(0), rate)
    assert found.shape == parts.shape
    # measured 14 dB and more; the mixture has at most 16 for one and loses it for the other
    for truth, estimate in zip(parts, found, strict=True):
        assert sdr(truth, estimate) > 10
        assert sdr(truth, estimate) > sdr(truth, parts.sum(0) / 2)
    assert (found.sum(0) - parts.sum(0)).abs().max() < 1e-5


@pytest.mark.parametrize("n_samples", [1, 5, 2048])
def test_hpss_of_any_length(n_samples):
    mixture = torch.randn(2, n_samples)
    found = hpss(mixture, RATE)
    assert found.shape == (2, 2, n_samples) and found.isfinite().all()
    assert (found.sum(0) - mixture).abs().max() < 1e-5
    assert hpss(torch.zeros(1, n_samples), RATE).abs().max() == 0


def test_hpss_without_samples():
    with pytest.raises(ShapeError, match="hpss: expected a wave"):
        hpss(torch.zeros(1, 0), RATE)


def test_median_filter(monkeypatch):
    values = torch.randn(7, 20)
    found = _median_filter(values, 5)
    for row in range(7):
        for step in range(20):
            near = [values[row, min(max(step + k, 0), 19)] for k in range(-2, 3)]
            assert found[row, step] == sorted(near)[2]
    monkeypatch.setattr("lqsep.core.evaluation.baselines._MAX_SORTED", 1)
    assert torch.equal(_median_filter(values, 5), found)


def test_best_setting_is_the_best_of_the_grid():
    data = SyntheticDataset(n_tracks=2, duration_s=1.5)
    tracks = []
    for track in data:
        bass, drums = (torch.from_numpy(track.stems[name]) for name in ("bass", "drums"))
        tracks.append((bass + drums, bass, drums, track.sample_rate))
    grid = HPSS_GRID[::5]
    totals = {}
    for setting in grid:
        totals[setting] = 0.0
        for mixture, *references, rate in tracks:
            for reference, found in zip(references, hpss(mixture, rate, setting), strict=True):
                totals[setting] += windowed_sdr(reference, found, rate).median
    assert len(set(totals.values())) == len(grid) > 2
    assert best_hpss(iter(tracks), grid) == max(totals, key=totals.get)


def test_a_silent_reference_does_not_count():
    bass = torch.from_numpy(SyntheticDataset(n_tracks=1, duration_s=1.5)[0].stems["bass"])

    def score(setting):
        return windowed_sdr(bass, hpss(bass, RATE, setting)[0], RATE).median

    worst_first = sorted(HPSS_GRID[::5], key=score)
    found = best_hpss([(bass, bass, torch.zeros_like(bass), RATE)], worst_first)
    assert found == worst_first[-1]


def test_share_of_the_mixture():
    mixture = torch.randn(2, 10)
    assert torch.equal(share_mixture(mixture, 4), torch.stack([mixture / 4] * 4))


def test_oracle_masks_are_better_than_what_knows_nothing():
    track = SyntheticDataset(n_tracks=1, channels=2)[0]
    references = torch.stack([torch.from_numpy(stem) for stem in track.stems.values()])
    mixture = references.sum(0)
    found = oracle_masks(mixture, references, track.sample_rate)
    assert found.shape == references.shape
    assert (found.sum(0) - mixture).abs().max() < 1e-5
    filtered = hpss(mixture, track.sample_rate).flip(0)
    for truth, oracle, simple in zip(references, found, filtered, strict=True):
        assert sdr(truth, oracle) > sdr(truth, simple) + 2
        assert sdr(truth, oracle) > sdr(truth, mixture / 2) + 5


def test_oracle_masks_of_other_shapes():
    with pytest.raises(ShapeError, match="oracle masks: expected references"):
        oracle_masks(torch.zeros(1, 10), torch.zeros(2, 1, 9), RATE)
