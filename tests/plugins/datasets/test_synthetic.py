import numpy as np
import pytest

from lqsep.core.errors import ConfigError
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.testing.contracts import DatasetContract


class TestSynthetic(DatasetContract):
    def make(self):
        return SyntheticDataset(n_tracks=2, duration_s=0.5)


def test_the_same_for_the_same_seed():
    first, second = SyntheticDataset(seed=3), SyntheticDataset(seed=3)
    assert (len(first), first.sources) == (8, ("drums", "bass"))
    for source in first.sources:
        assert np.array_equal(first[1].stems[source], second[1].stems[source])
        assert not np.array_equal(first[1].stems[source], first[2].stems[source])
        assert not np.array_equal(first[1].stems[source], SyntheticDataset(seed=4)[1].stems[source])


def test_tracks_differ_in_more_than_tempo():
    # the first note, before the second beat, brought to one level
    openings = [track.stems["bass"][0, :4000] for track in SyntheticDataset()]
    directions = np.stack([wave / np.linalg.norm(wave) for wave in openings])
    assert (directions @ directions[0] < 0.99).any()


@pytest.mark.parametrize("channels", [1, 2])
def test_form(channels):
    data = SyntheticDataset(n_tracks=2, duration_s=0.7, sample_rate=8000, channels=channels)
    for index, track in enumerate(data):
        assert (track.name, track.sample_rate, track.mixture) == (
            f"synthetic-{index:04d}",
            8000,
            None,
        )
        assert data.info(index).n_samples == 5600
        for wave in track.stems.values():
            assert wave.shape == (channels, 5600) and wave.dtype == np.float32
            # at the peak, spread over two channels of equal power at most
            assert 0.3 < np.abs(wave).max() <= 0.5
    assert index == 1


def test_a_part_of_a_stem():
    data = SyntheticDataset(n_tracks=1)
    part = data.stem(0, "bass", 100, 150)
    assert list(part.stems) == ["bass"]
    assert np.array_equal(part.stems["bass"], data[0].stems["bass"][:, 100:150])


def test_clicks_are_broad_and_tones_low():
    track = SyntheticDataset(sources=("clicks", "tones"))[0]
    share = {}
    for source, wave in track.stems.items():
        power = np.abs(np.fft.rfft(wave[0])) ** 2
        hz = np.fft.rfftfreq(wave.shape[1], 1 / track.sample_rate)
        share[source] = power[hz > 2000].sum() / power.sum()
    assert share["clicks"] > 0.05 > 1e-4 > share["tones"]


def test_extremes():
    assert SyntheticDataset(duration_s=1e-6)[0].stems["bass"].shape == (1, 1)
    with pytest.raises(IndexError):
        SyntheticDataset(n_tracks=2)[2]
    with pytest.raises(ConfigError, match="no source piano; expected among drums, clicks, bass"):
        SyntheticDataset(sources=("drums", "piano"))
