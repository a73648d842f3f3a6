import numpy as np
import pytest

from lqsep.core.audio.files import write_audio
from lqsep.core.errors import AudioError, ConfigError
from lqsep.plugins.datasets.scan import guess_layout, scan


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".wav", ".flac"):
            write_audio(path, np.zeros((1, 10), np.float32), 22_050)
        else:
            path.write_text("text")


def found(listing):
    return [(file.split, file.track, file.source) for file in listing.files]


def problems(listing):
    return [(problem.level, problem.kind, problem.where) for problem in listing.problems]


@pytest.mark.parametrize(
    ("paths", "layout"),
    [
        (["train/a/drums.wav", "test/b/drums.wav"], "track-folders"),
        (["drums/train/a.wav", "drums/test/b.wav"], "stem-folders"),
        (["a/drums.wav", "a/bass.wav"], "track-folders"),
        (["drums/a.wav", "bass/a.wav"], "stem-folders"),
        (["one/x.wav", "two/x.wav", "three/x.wav"], "track-folders"),
        (["x/one.wav", "x/two.wav", "x/three.wav"], "stem-folders"),
        (["rock/song/x.wav", "rock/tune/x.wav", "jazz/song/x.wav"], "track-folders"),
        (["Train/a/x.wav"], "track-folders"),
        (["a.wav", "a/b/c/d.wav"], "track-folders"),
    ],
)
def test_guesses(paths, layout):
    assert guess_layout([tuple(path.split("/")) for path in paths]) == layout


def test_track_folders(tmp_path):
    make(tmp_path, *(f"{t}/{s}.wav" for t in ("train/a", "test/b") for s in ("drums", "mixture")))
    make(tmp_path, "train/a/bass.flac", "train/a/track.json", "train/a/drums.wav.dur", "README.md")
    make(tmp_path, "train/.a/drums.wav", "train/a/._drums.wav")
    listing = scan(tmp_path)
    assert (listing.layout, listing.sources) == ("track-folders", ("bass", "drums"))
    assert found(listing) == [
        ("test", "b", "drums"),
        ("test", "b", "mixture"),
        ("train", "a", "bass"),
        ("train", "a", "drums"),
        ("train", "a", "mixture"),
    ]
    assert problems(listing) == [("error", "incomplete", "test/b")]
    assert scan(tmp_path, sources=["drums"]).problems == ()


def test_stem_folders(tmp_path):
    make(tmp_path, "drums/train/a.wav", "bass/train/a.wav", "drums/train/b.wav", "bass/test/c.wav")
    listing = scan(tmp_path)
    assert listing.layout == "stem-folders"
    assert found(listing)[0] == ("test", "c", "bass")
    assert problems(listing) == [
        ("error", "incomplete", "test/c"),
        ("error", "incomplete", "train/b"),
    ]
    assert [problem.text for problem in listing.problems] == ["no drums", "no bass"]


def test_a_layout_that_is_given(tmp_path):
    make(tmp_path, "drums/a.wav", "drums/b.wav", "bass/a.wav", "bass/b.wav")
    assert found(scan(tmp_path))[0] == ("", "a", "bass")
    listing = scan(tmp_path, "track-folders")
    assert found(listing)[0] == ("", "bass", "a") and listing.sources == ("a", "b")


def test_files_elsewhere(tmp_path):
    make(tmp_path, "train/a/drums.wav", "train/b/drums.wav", "demo.wav", "train/c.wav")
    make(tmp_path, "train/a/takes/one.wav", "train/a/song.als", "train/b/song.als")
    listing = scan(tmp_path)
    assert found(listing) == [("train", "a", "drums"), ("train", "b", "drums")]
    assert problems(listing) == [
        ("warning", "stray", "demo.wav"),
        ("warning", "stray", "train/c.wav"),
        ("warning", "stray", "train/a/takes/one.wav"),
        ("warning", "stray", "*.als"),
    ]
    assert listing.problems[-1].text == "no audio (files: 2)"


def test_two_files_of_one_name(tmp_path):
    make(tmp_path, "train/a/drums.flac", "train/a/drums.wav")
    listing = scan(tmp_path)
    assert problems(listing) == [("error", "name", "train/a/drums.wav")]


def test_folders_that_lead_back_to_themselves_end(tmp_path):
    make(tmp_path, "train/a/drums.wav")
    (tmp_path / "train/a/loop").symlink_to(tmp_path)
    assert ("train", "a", "drums") in found(scan(tmp_path, "track-folders"))


@pytest.mark.parametrize(
    ("names", "sources", "error", "message"),
    [
        ([], [], AudioError, "no audio files in .* found 0 audio files elsewhere"),
        (["a.wav"], [], AudioError, "found 1 audio files elsewhere"),
        (["train/a/x.wav"], ["drums"], ConfigError, "no source drums in .*; found x"),
    ],
)
def test_nothing_to_check(tmp_path, names, sources, error, message):
    make(tmp_path, *names)
    with pytest.raises(error, match=message):
        scan(tmp_path, sources=sources)
    with pytest.raises(ConfigError, match="expected a folder, got"):
        scan(tmp_path / "nowhere")
