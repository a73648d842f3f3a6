"""Data sets of files with other endings, names in another coding, pipes, films, wrong headers."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lqsep.cli.main import run
from lqsep.core.corpus.checks import check_data
from lqsep.core.corpus.code_cache import data_hash
from lqsep.core.errors import AudioError
from lqsep.core.evaluation.items import plan_items
from lqsep.core.evaluation.protocols import SI_SDR
from lqsep.core.files.new_file import write_text
from lqsep.plugins.datasets.flatten import FlattenSettings, flatten
from lqsep.plugins.datasets.folders import FolderDataset
from lqsep.plugins.datasets.layouts import find_stem_folders, find_track_folders
from lqsep.plugins.datasets.scan import scan

RATE = 8000
NOT_UTF8 = os.fsdecode(b"caf\xe9")
FILM = b"\x1a\x45\xdf\xa3" + bytes(100)


def put(path: Path, format: str = "WAV", seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, 4000)
    with soundfile.SoundFile(os.fsencode(path), "w", RATE, 1, format=format) as file:
        file.write(noise)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two tracks of drums and bass."""
    for number, track in enumerate(("a", NOT_UTF8)):
        put(tmp_path / "data" / "train" / track / "drums.wave", seed=2 * number)
        put(tmp_path / "data" / "train" / track / "bass", "FLAC", seed=2 * number + 1)
    return tmp_path / "data"


def test_tracks_are_found_by_what_is_in_their_files(root: Path) -> None:
    data = FolderDataset(find_track_folders(root, "train"))
    assert (data.sources, [data.name(0), data.name(1)]) == (("bass", "drums"), ["a", NOT_UTF8])
    assert data[1].stems["bass"].shape == (1, 4000)
    listing = scan(root)
    assert [(file.track, file.source) for file in listing.files] == [
        ("a", "bass"), (NOT_UTF8, "bass"), ("a", "drums"), (NOT_UTF8, "drums"),
    ]  # fmt: skip
    assert listing.problems == ()
    assert check_data(listing).problems == ()


def test_data_check_names_them(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "train" / NOT_UTF8 / "drums.wave").write_bytes(b"no sound")
    put(root / "train" / NOT_UTF8 / "drums.wav")
    (root / "train" / NOT_UTF8 / "bass").unlink()
    assert run(["data", "check", str(root)]) == 1
    assert r"train/caf\udce9: no bass" in capsys.readouterr().out
    assert run(["data", "check", str(root), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["n_tracks"] == 2


def test_sound_that_cannot_be_read_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setenv("PATH", "")
    (root / "train/a/vocals.m4a").write_bytes(FILM)
    os.mkfifo(root / "train/a/piano.wav")
    why = "libsndfile does not read such files; to read them, install PyAV (pip install "
    why += "'lqsep[formats]') or the program ffmpeg"
    assert len(FolderDataset(find_track_folders(root, "train"))) == 2
    assert caplog.messages == [
        f"left out: {root}/train/a/piano.wav: not a regular file",
        f"left out: {root}/train/a/vocals.m4a: {why}",
    ]
    assert [(p.level, p.kind, p.where, p.text) for p in scan(root).problems] == [
        ("error", "unreadable", "train/a/piano.wav", "not a regular file"),
        ("error", "unreadable", "train/a/vocals.m4a", why),
    ]


def test_of_a_song_and_its_film_the_song_is_taken(root: Path) -> None:
    for name in ("drums.mkv", "bass.m4a"):
        (root / "train/a" / name).write_bytes(FILM)
    tracks = find_track_folders(root, "train")
    names = {source: paths[0].name for source, paths in tracks[0].stems.items()}
    assert names == {"bass": "bass", "drums": "drums.wave"}
    listing = scan(root)
    assert listing.problems == ()
    assert {file.path.name for file in listing.files} == {"bass", "drums.wave"}
    put(root / "train/a/bass.flac", "FLAC")
    with pytest.raises(AudioError, match="has both bass and bass.flac; expected one file"):
        find_track_folders(root, "train")
    assert [problem.kind for problem in scan(root).problems] == ["name"]


def test_stem_folders_too(tmp_path: Path) -> None:
    for source in ("drums", "bass"):
        put(tmp_path / source / f"{NOT_UTF8}.bwf")
        (tmp_path / source / "notes.pdf").write_bytes(b"%PDF-1.7")
    (track,) = find_stem_folders(tmp_path)
    assert (track.name, list(track.stems)) == (NOT_UTF8, ["bass", "drums"])


def test_a_wrong_header_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for source in ("drums", "bass"):
        put(tmp_path / f"a/{source}.flac", "FLAC")
    path = tmp_path / "a/drums.flac"
    content = bytearray(path.read_bytes())
    content[21:26] = bytes([content[21] & 0xF0]) + (16_000).to_bytes(4, "big")
    path.write_bytes(content)
    words = "its header counts 2.00 s, its frames 0.50 s, which are read"
    data = FolderDataset(find_track_folders(tmp_path))
    assert data.info(0).n_samples == data.info(0).n_samples == 4000
    assert caplog.messages == [f"{path}: {words}"]  # once
    found = check_data(scan(tmp_path)).problems
    assert ("warning", "header", "a/drums.flac", words) in [
        (problem.level, problem.kind, problem.where, problem.text) for problem in found
    ]


def test_items_caches_and_files_take_such_names(root: Path, tmp_path: Path) -> None:
    data = FolderDataset(find_track_folders(root, "train"))
    assert len(data_hash(data, "bass")) == 64
    items = plan_items(data, SI_SDR, sources=("bass", "drums"))
    # "caf" and a mark of the whole name, which is the same wherever it is made
    assert [(item.item, item.track) for item in items] == [
        ("a", "a"), ("caf-dafd66c0", NOT_UTF8),
    ]  # fmt: skip
    (result,) = {r.status for r in flatten({"train": data}, FlattenSettings(tmp_path / "flat"))}
    assert result == "written"
    assert (tmp_path / f"flat/bass/train/{NOT_UTF8}.wav").is_file()
    write_text(tmp_path / "summary.csv", f"track\n{NOT_UTF8}\n")
    assert (tmp_path / "summary.csv").read_text() == "track\ncaf\\udce9\n"
