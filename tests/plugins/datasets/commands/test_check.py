"""``lqsep data check`` as a user calls it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lqsep.cli.main import run
from lqsep.core.audio.files import write_audio

RNG = np.random.default_rng(0)


def put(path, n_samples=2205, rate=22_050):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = (0.1 * RNG.standard_normal((1, n_samples))).astype(np.float32)
    write_audio(path, wave, rate)


@pytest.fixture
def music(tmp_path):
    for track in ("train/a", "train/b", "test/c"):
        for source in ("drums", "bass"):
            put(tmp_path / "music" / track / f"{source}.wav")
    return tmp_path / "music"


def test_a_good_data_set(music, capsys):
    assert run(["data", "check", str(music), "-j", "2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        f"{music}: track-folders (guessed)",
        "split  source  files  hours  Hz     channels  silent  clipped  unreadable",
        "test   bass    1      0.00   22050  1         0       0        0",
        "test   drums   1      0.00   22050  1         0       0        0",
        "train  bass    2      0.00   22050  1         0       0        0",
        "train  drums   2      0.00   22050  1         0       0        0",
        "3 tracks, 6 files, 0 errors, 0 warnings",
    ]


def test_warnings_alone_are_no_failure(music, capsys):
    put(music / "train/a/bass.wav", 2000)
    assert run(["data", "check", str(music), "--dataset", "track-folders"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{music}: track-folders"
    assert out[-2].startswith("warning: train/a: its files differ in length")
    assert out[-1] == "3 tracks, 6 files, 0 errors, 1 warnings"


def test_errors_are_one_line_each_and_fail(music, capsys):
    (music / "train/a/bass.wav").unlink()
    (music / "train/b/bass.wav").write_text("text")
    (music / "test/c/drums.wav").write_bytes((music / "train/a/drums.wav").read_bytes())
    content = (music / "test/c/bass.wav").read_bytes()
    (music / "test/c/bass.wav").write_bytes(content[:1000])
    assert run(["data", "check", str(music)]) == 1
    lines = capsys.readouterr().out.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors[0] == "error: train/a: no bass"
    assert errors[1].startswith("error: test/c/bass.wav: the file is cut short")
    assert errors[2].startswith("error: train/b/bass.wav: not a readable audio file")
    assert errors[3].startswith("error: test/c/drums.wav: the same audio as train/a/drums.wav")
    assert lines[-1] == "3 tracks, 5 files, 4 errors, 0 warnings"


def test_json(music, capsys):
    (music / "train/a/bass.wav").unlink()
    assert run(["data", "check", str(music), "--json", "--sources", "bass"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["schema_version"], data["layout"]) == (1, "track-folders")
    assert (data["sources"], data["n_errors"]) == (["bass"], 1)
    assert [group["n_files"] for group in data["groups"]] == [1, 1]
    assert data["problems"][0]["where"] == "train/a"


def test_slakh_is_found_and_its_metadata_checked(tmp_path, capsys):
    stems = tmp_path / "train/Track00001/stems"
    for number in range(3):
        put(stems / f"S0{number}.flac")
    entry = "{inst_class: %s, is_drum: %s, program_num: 0, audio_rendered: true}"
    (stems.parent / "metadata.yaml").write_text(
        f"stems:\n  S00: {entry % ('Drums', 'true')}\n  S01: {entry % ('Drums', 'true')}\n"
    )
    put(tmp_path / "test/Track00002/stems/S00.flac")
    assert run(["data", "check", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(": slakh (guessed)")
    assert lines[2].split()[:3] == ["train", "drums", "2"]
    assert lines[3:] == [
        "error: test/Track00002: metadata.yaml: not there",
        "error: train/Track00001: S02: S02.flac has no entry in metadata.yaml",
        "warning: test/Track00002: no drums, bass; the dataset leaves it out",
        "warning: train/Track00001: no bass; the dataset leaves it out",
        "1 tracks, 2 files, 2 errors, 2 warnings",
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "code", "message"),
    [
        ("nowhere", [], 2, "expected a folder, got"),
        ("empty", [], 1, "no audio files in"),
        ("file", [], 2, "expected a folder, got"),
        ("music", ["--sources", "piano"], 2, "no source piano"),
        ("music", ["--dataset", "musdb"], 2, "'musdb' is not one of"),
        ("music", ["--dataset", "slakh"], 1, "slakh: no tracks found"),
    ],
)
def test_mistakes_are_one_line(music, name, arguments, code, message, capsys):
    (music.parent / "empty").mkdir()
    (music.parent / "file").write_text("text")
    assert run(["data", "check", str(music.parent / name), *arguments]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and message in err


def test_importing_the_command_is_light() -> None:
    code = (
        "import sys, lqsep.plugins.datasets.commands.check, lqsep.plugins.datasets.commands.slakh;"
        "print({'numpy', 'torch', 'yaml', 'soundfile'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
