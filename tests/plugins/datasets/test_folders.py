import numpy as np
import pytest
import torch

from lqsep.core.audio.files import write_audio
from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import AudioError, ConfigError
from lqsep.plugins.datasets import plugin
from lqsep.plugins.datasets.folders import FolderDataset
from lqsep.plugins.datasets.layouts import find_stem_folders, find_track_folders
from lqsep.testing.contracts import DatasetContract


@pytest.fixture
def registry():
    return Registry.from_plugins(lqsep=plugin)


def open_dataset(registry, base_dir, name, **settings):
    registered = registry.find(Kind.DATASET, name)
    context = BuildContext(
        device=torch.device("cpu"), dtype=torch.float32, sources=(), gains=(), base_dir=base_dir
    )
    return build(registered, registered.spec.config(**settings), context)


def put(path, value, samples=100, rate=22_050, channels=1):
    """A ramp that starts at ``value``: every sample tells which one it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = value + np.arange(samples, dtype="f") / 1024
    write_audio(path, np.tile(ramp, (channels, 1)), rate, subtype="PCM_24")


@pytest.fixture
def stem_folders(tmp_path):
    for split, names in {"train": "ba", "validation": "c"}.items():
        for name in names:
            put(tmp_path / "data" / "drums" / split / f"{name}.wav", 0.25)
            put(tmp_path / "data" / "bass" / split / f"{name}.flac", -0.25, 90)
    (tmp_path / "data/bass/train/a.flac.dur").write_text("0.004")
    (tmp_path / "data/bass/train/._a.flac").write_text("made by a file manager")
    (tmp_path / "data/README.txt").write_text("about")
    (tmp_path / "data/notes").mkdir()
    return tmp_path


@pytest.fixture
def track_folders(tmp_path):
    for track in ("Some One - Song", "Any One - Tune"):
        for source, value in {"drums": 0.25, "bass": -0.25, "mixture": 0.0}.items():
            put(tmp_path / "test" / track / f"{source}.wav", value, 120, 44_100, 2)
        (tmp_path / "test" / track / "cover.jpg").write_bytes(b"jpg")
    (tmp_path / "test" / "empty").mkdir()
    return tmp_path


class TestStemFolders(DatasetContract):
    @pytest.fixture(autouse=True)
    def files(self, stem_folders):
        self.root = stem_folders / "data"

    def make(self):
        return FolderDataset(find_stem_folders(self.root, "train"))


class TestTrackFolders(DatasetContract):
    @pytest.fixture(autouse=True)
    def files(self, track_folders):
        self.root = track_folders

    def make(self):
        return FolderDataset(find_track_folders(self.root, "test"))


def test_stem_folders(registry, stem_folders):
    data = open_dataset(registry, stem_folders, "stem-folders", root="data", split="train")
    assert (data.sources, len(data)) == (("bass", "drums"), 2)
    assert [track.name for track in data] == ["a", "b"]
    track = data[0]
    assert (track.sample_rate, track.mixture) == (22_050, None)
    assert track.stems["drums"].dtype == np.float32
    ramp = np.arange(100) / 1024
    assert np.array_equal(track.stems["drums"], [0.25 + ramp])
    # the shorter file goes on in silence
    assert np.array_equal(track.stems["bass"], [np.where(ramp < 90 / 1024, -0.25 + ramp, 0)])
    with pytest.raises(IndexError):
        data[2]


def test_track_folders(registry, track_folders):
    data = open_dataset(registry, track_folders, "track-folders", split="test")
    assert (data.sources, len(data)) == (("bass", "drums"), 2)
    track = data[0]
    assert (track.name, track.sample_rate) == ("Any One - Tune", 44_100)
    assert track.mixture.shape == track.stems["bass"].shape == (2, 120)
    assert track.stems["bass"][1, 3] == -0.25 + 3 / 1024
    assert track.mixture[0, 5] == 5 / 1024


def test_order_of_the_sources_asked_for(registry, track_folders):
    data = open_dataset(registry, track_folders / "test", "track-folders", sources=["drums"])
    assert data.sources == ("drums",) and list(data[0].stems) == ["drums"]
    data = open_dataset(
        registry, track_folders, "track-folders", split="test", sources=["drums", "bass"]
    )
    assert list(data[0].stems) == ["drums", "bass"]


def test_no_split_level(registry, stem_folders):
    root = stem_folders / "flat"
    put(root / "drums" / "a.wav", 0)
    put(root / "bass" / "a.WAV", 0)
    data = open_dataset(registry, stem_folders, "stem-folders", root="flat")
    assert (data.sources, len(data)) == (("bass", "drums"), 1)


def test_parts_and_info_read_only_what_is_asked_for(registry, stem_folders, monkeypatch):
    from lqsep.core.audio.files import AudioReader

    read = []
    original = AudioReader.read
    monkeypatch.setattr(
        AudioReader, "read", lambda self, a, b: read.append(b - a) or original(self, a, b)
    )
    data = open_dataset(registry, stem_folders, "stem-folders", root="data", split="train")
    info = data.info(1)
    assert (info.name, info.sample_rate, info.n_samples) == ("b", 22_050, 100)
    assert read == []
    part = data.stem(1, "bass", 10, 20)
    assert read == [10]
    assert (part.mixture, list(part.stems)) == (None, ["bass"])
    assert np.array_equal(part.stems["bass"], [-0.25 + np.arange(10, 20) / 1024])
    assert np.array_equal(data.stem(1, "bass").stems["bass"], data[1].stems["bass"])
    assert np.array_equal(
        data.stem(1, "bass", 85, 1000).stems["bass"], data[1].stems["bass"][:, 85:]
    )
    assert np.array_equal(data.stem(1, "bass", 95, 99).stems["bass"], np.zeros((1, 4)))
    with pytest.raises(AudioError, match="no such range"):
        data.stem(1, "bass", 100, 110)
    with pytest.raises(KeyError):
        data.stem(1, "piano")


def test_a_track_without_its_partner(registry, stem_folders):
    for name in "vwxyz":
        put(stem_folders / "data" / "drums" / "train" / f"{name}.wav", 0)
    with pytest.raises(
        AudioError,
        match=r"5 of 7 tracks lack a source .*: v has no bass; w has no bass; x has no bass and 2 "
        r"more\. Add or remove",
    ):
        open_dataset(registry, stem_folders, "stem-folders", root="data", split="train")
    data = open_dataset(
        registry, stem_folders, "stem-folders", root="data", split="train", sources=["bass"]
    )
    assert len(data) == 2


def test_a_track_folder_without_a_source(registry, track_folders):
    (track_folders / "test/Any One - Tune/bass.wav").unlink()
    with pytest.raises(AudioError, match="1 of 2 tracks lack .*: Any One - Tune has no bass. Add"):
        open_dataset(registry, track_folders, "track-folders", split="test")


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (22_050, 2)])
def test_files_of_one_track_differ(registry, stem_folders, rate, channels):
    put(stem_folders / "data/bass/train/a.flac", 0, rate=rate, channels=channels)
    data = open_dataset(registry, stem_folders, "stem-folders", root="data", split="train")
    for use in (data.info, data.__getitem__, lambda i: data.stem(i, "drums")):
        with pytest.raises(AudioError, match="files of track 'a' differ: .*bass.*drums.*Convert"):
            use(0)
    assert data.info(1).sample_rate == 22_050


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        ("stem-folders", {"root": "nowhere"}, ConfigError, "expected a folder as root, got"),
        ("track-folders", {"root": "nowhere"}, ConfigError, "expected a folder as root, got"),
        ("stem-folders", {"root": "data", "split": "x"}, ConfigError, "no split 'x' in"),
        ("track-folders", {"root": "data", "split": "x"}, ConfigError, "it has bass, drums, notes"),
        (
            "stem-folders",
            {"root": "data", "split": "train", "sources": ["drums", "piano"]},
            ConfigError,
            "no source piano in .*; found bass, drums",
        ),
        ("track-folders", {"root": "data"}, AudioError, "no audio files found; expected"),
    ],
)
def test_what_is_not_there(registry, stem_folders, name, settings, error, message):
    with pytest.raises(error, match=message):
        open_dataset(registry, stem_folders, name, **settings)


def test_two_files_of_one_name(registry, stem_folders):
    put(stem_folders / "data/bass/train/a.wav", 0)
    with pytest.raises(AudioError, match="has both a.flac and a.wav"):
        open_dataset(registry, stem_folders, "stem-folders", root="data", split="train")


@pytest.fixture
def musdb(tmp_path):
    """MUSDB18-HQ's form; each stem is a ramp, the mixture their sum."""
    values = {"drums": 0.25, "bass": -0.25, "other": 0.125, "vocals": 0.0625}
    for split, track in [("train", "A - One"), ("train", "B (Live) - Two"), ("test", "C - Three")]:
        for source, value in {**values, "mixture": sum(values.values())}.items():
            put(tmp_path / split / track / f"{source}.wav", value, 120, 44_100, 2)
    return tmp_path


def test_two_sources_of_musdb_have_no_mixture(registry, musdb):
    data = open_dataset(registry, musdb, "track-folders", split="train", sources=["drums", "bass"])
    assert [track.name for track in data] == ["A - One", "B (Live) - Two"]
    track = data[0]
    assert list(track.stems) == ["drums", "bass"] and track.stems["drums"].shape == (2, 120)
    # mixture.wav holds vocals and others too: two sources must not be asked to explain it
    assert track.mixture is None


def test_all_sources_of_musdb_have_the_mixture(registry, musdb):
    data = open_dataset(registry, musdb, "track-folders", split="test")
    assert data.sources == ("bass", "drums", "other", "vocals")
    assert data[0].mixture[0, 0] == 0.25 - 0.25 + 0.125 + 0.0625


def test_the_mixture_belongs_to_all_stems(registry, track_folders, stem_folders):
    def mixtures(name, **settings):
        data = open_dataset(registry, track_folders, name, **settings)
        return [track.mixture is not None for track in data]

    assert mixtures("track-folders", split="test", sources=["bass", "drums"]) == [True, True]
    assert mixtures("track-folders", split="test", sources=["bass"]) == [False, False]
    # in one track is enough: the other one's mixture may hold it too
    put(track_folders / "test/Some One - Song/piano.wav", 0, 120, 44_100, 2)
    sources = ["drums", "bass"]
    assert mixtures("track-folders", split="test", sources=sources) == [False, False]
    for name in "ab":
        put(stem_folders / f"data/mixture/train/{name}.wav", 0)
    assert mixtures("stem-folders", root="data", split="train", sources=sources) == [True, True]
    put(stem_folders / "data/piano/train/b.wav", 0)
    assert mixtures("stem-folders", root="data", split="train", sources=sources) == [False, False]


def test_a_mixture_without_one_of_its_stems(registry, track_folders):
    for track in ("Any One - Tune", "Some One - Song"):
        (track_folders / "test" / track / "bass.wav").unlink()
    data = open_dataset(registry, track_folders, "track-folders", split="test")
    assert data.sources == ("drums",) and data[0].mixture is None
