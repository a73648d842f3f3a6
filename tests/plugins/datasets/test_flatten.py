import numpy as np
import pytest
import torch

from lqsep.core.audio.files import audio_info, read_audio, write_audio
from lqsep.core.audio.resampling import resample
from lqsep.core.errors import ConfigError
from lqsep.plugins.datasets.flatten import FlattenSettings, flatten
from lqsep.plugins.datasets.folders import FolderDataset
from lqsep.plugins.datasets.layouts import find_stem_folders, find_track_folders
from lqsep.plugins.datasets.synthetic import SyntheticDataset


@pytest.fixture
def tracks(tmp_path):
    rng = np.random.default_rng(1)
    for track in ("a", "b", "c"):
        for source in ("drums", "bass"):
            path = tmp_path / "in" / track / f"{source}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            wave = 0.1 * rng.standard_normal((2, 4001), np.float32)
            write_audio(path, wave, 44_100, subtype="FLOAT")
    return tmp_path / "in"


def test_files_are_mono_resampled_and_paired(tracks, tmp_path):
    settings = FlattenSettings(tmp_path / "out", subtype="FLOAT")
    data = FolderDataset(find_track_folders(tracks))
    done = []
    results = flatten({"train": data, "": data}, settings, jobs=3, on_result=done.append)
    assert results == done and {result.status for result in results} == {"written"}
    # In the order of the tracks, whichever was done first.
    assert [result.track for result in results] == [
        "train/a",
        "train/b",
        "train/c",
        "a",
        "b",
        "c",
    ]
    flat = find_stem_folders(tmp_path / "out", "train")
    assert [(track.name, list(track.stems)) for track in flat] == [
        (name, ["bass", "drums"]) for name in "abc"
    ]
    wave, rate = read_audio(tmp_path / "out/bass/train/b.wav")
    expected = resample(torch.from_numpy(data[1].stems["bass"].mean(0)), 44_100, 22_050)
    assert rate == 22_050 and wave.shape == (1, 2001)
    assert np.abs(wave[0] - expected.numpy()).max() < 1e-6  # float32 rounding
    assert list(tmp_path.rglob("*.part")) == []


def test_complete_files_are_kept_and_damaged_ones_made_again(tracks, tmp_path):
    settings = FlattenSettings(tmp_path / "out")
    data = FolderDataset(find_track_folders(tracks))
    flatten({"train": data}, settings)
    one, other = (tmp_path / f"out/{source}/train/a.wav" for source in ("drums", "bass"))
    content = one.read_bytes()
    one.write_bytes(content[:2000])
    (tmp_path / "out/drums/train/b.wav").unlink()
    before = other.stat().st_mtime_ns
    results = {result.track: result.status for result in flatten({"train": data}, settings)}
    assert results == {"train/a": "written", "train/b": "written", "train/c": "kept"}
    assert one.read_bytes() == content and other.stat().st_mtime_ns == before


def test_files_of_other_settings_are_not_replaced(tracks, tmp_path):
    data = FolderDataset(find_track_folders(tracks))
    flatten({"train": data}, FlattenSettings(tmp_path / "out"))
    results = flatten({"train": data}, FlattenSettings(tmp_path / "out", 16_000))
    assert [result.status for result in results] == 3 * ["failed"]
    assert "already there, with 2001 samples at 22050 Hz" in results[0].error
    assert audio_info(tmp_path / "out/drums/train/a.wav").sample_rate == 22_050


def test_a_track_that_fails_leaves_nothing_and_stops_nothing(tracks, tmp_path):
    broken = tracks / "b" / "bass.wav"
    broken.write_bytes(broken.read_bytes()[:9000])
    (tracks / "c" / "drums.wav").write_text("no audio")
    data = FolderDataset(find_track_folders(tracks))
    results = flatten({"": data}, FlattenSettings(tmp_path / "out"), jobs=2)
    assert sorted(result.status for result in results) == ["failed", "failed", "written"]
    errors = " ".join(result.error for result in results)
    assert "b/bass.wav: the file is cut short" in errors and "c/drums.wav: not a read" in errors
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["a.wav", "a.wav"]


def test_damage_in_the_middle_leaves_no_half_of_a_pair(tracks, tmp_path):
    wave, rate = read_audio(tracks / "b/drums.wav")
    write_audio(tracks / "b/drums.wav", wave, rate, subtype="FLOAT")
    content = bytearray((tracks / "b/drums.wav").read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()
    (tracks / "b/drums.wav").write_bytes(content)
    results = flatten({"": FolderDataset(find_track_folders(tracks))}, FlattenSettings(tmp_path))
    assert {result.track: result.status for result in results} == {
        "a": "written",
        "b": "failed",
        "c": "written",
    }
    assert not list(tmp_path.glob("*/b.wav")) and not list(tmp_path.rglob("*.part"))


def test_values_beyond_full_scale_are_counted_or_kept(tmp_path):
    path = tmp_path / "in/a/drums.wav"
    path.parent.mkdir(parents=True)
    write_audio(path, np.full((1, 2000), 1.5, np.float32), 22_050, subtype="FLOAT")
    data = FolderDataset(find_track_folders(tmp_path / "in"))
    [clipped] = flatten({"": data}, FlattenSettings(tmp_path / "int"))
    assert clipped.n_clipped == {"drums": 2000} and clipped.peaks == {"drums": 1.5}
    assert read_audio(tmp_path / "int/drums/a.wav")[0].max() < 1
    [kept] = flatten({"": data}, FlattenSettings(tmp_path / "float", subtype="FLOAT"))
    assert kept.n_clipped == {}
    assert read_audio(tmp_path / "float/drums/a.wav")[0].max() == 1.5


def test_an_interruption_stops_running_tracks(tmp_path):
    class Endless(SyntheticDataset):
        """Its second track never ends unless it is stopped."""

        def stem(self, index, source, start=0, stop=None):
            if index == 1 and start > 0:
                start, stop = start % 1000, start % 1000 + (stop - start)
            return super().stem(index, source, start, stop)

        def info(self, index):
            info = super().info(index)
            length = 10**12 if index == 1 else info.n_samples
            return type(info)(info.name, info.sample_rate, length)

    data = Endless(sources=["drums"], n_tracks=2, duration_s=60, sample_rate=22_050)

    def interrupt(result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        flatten({"": data}, FlattenSettings(tmp_path), jobs=2, on_result=interrupt)
    assert [path.name for path in (tmp_path / "drums").iterdir()] == ["synthetic-0000.wav"]


@pytest.mark.parametrize("name", ["a/b", "..", ".", ""])
def test_names_that_are_no_folders(name, tmp_path):
    data = SyntheticDataset(n_tracks=1)
    data.sources = (name,)
    with pytest.raises(ConfigError, match="expected the name of a folder"):
        flatten({"": data}, FlattenSettings(tmp_path / "out"))


def test_an_output_that_cannot_be_made(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigError, match="cannot make .*out/drums: Not a directory"):
        flatten({"": SyntheticDataset(n_tracks=1)}, FlattenSettings(tmp_path / "out"))
