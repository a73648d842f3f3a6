"""What ``lqsep separate`` takes for inputs: any file of sound, folders of them, pipes."""

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lqsep.cli.main import run
from lqsep.cli.separate.inputs import Inputs, find_inputs
from lqsep.core.audio.files import read_audio, write_audio
from lqsep.core.audio.inputs import spooling

RATE = 8000

# A name in Latin 1, as Python shows it.
NOT_UTF8 = os.fsdecode(b"caf\xe9")


def wave(n_samples: int = 400) -> np.ndarray:
    levels = np.array([0.0, 0.08, 0.28], np.float32)
    return levels[np.arange(n_samples // 4) % 3].repeat(4)[None]


@pytest.fixture
def find() -> Iterator[Any]:
    with ExitStack() as pipes:
        yield lambda *inputs: find_inputs([str(text) for text in inputs], Path("out"), pipes)


@pytest.fixture
def separate(
    toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Any:  # fmt: skip
    """Runs the command in a folder of its own and gives its JSON document and stderr."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run_it(*arguments: object, code: int = 0) -> tuple[dict[str, Any], str]:
        capsys.readouterr()
        command = ["separate", "-n", toy_model, "-o", "out", "--json", *arguments]
        assert run([str(argument) for argument in command]) == code
        stdout, stderr = capsys.readouterr()
        return json.loads(stdout), stderr

    return run_it


# By content


def test_files_are_audio_by_what_is_in_them(tmp_path: Path, find: Any) -> None:
    folder = tmp_path / "songs"
    folder.mkdir()
    for name, format in {
        "a.wave": "WAV", "b.bwf": "WAV", "c.aifc": "AIFF", "d.oga": "OGG", "e.snd": "AU",
        "f.mp2": "MP3", "no ending": "FLAC", "g.bin": "CAF", "h.wav": "WAV", "i.MP3": "MP3",
    }.items():  # fmt: skip
        soundfile.write(folder / name, wave(8000).T, RATE, format=format)
    for name, content in {
        "cover.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF", "list.m3u8": b"#EXTM3U\nh.wav\n",
        "notes.txt": b"about a song", "empty": b"", ".hidden.wav": b"RIFF", "song.mid": b"MThd",
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    (folder / "damaged.flac").write_bytes(b"not what it was")
    found = find(folder)
    assert [file.path.name for file in found.files] == [
        "a.wave", "b.bwf", "c.aifc", "d.oga", "damaged.flac", "e.snd", "f.mp2", "g.bin", "h.wav",
        "i.MP3", "no ending",
    ]  # fmt: skip
    assert (found.failures, found.left_out) == ([], [])
    assert [file.path for file in find(folder / "*").files] == [f.path for f in found.files]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "a.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(100))
    (folder / "b.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    write_audio(folder / "c.wav", wave(), RATE)
    return folder


def test_what_is_left_out_is_named_once_with_what_to_install(
    separate: Any, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setenv("PATH", "")
    document, stderr = separate(film)
    why = "libsndfile does not read such files; to read them, install PyAV (pip install "
    why += "'lqsep[formats]') or the program ffmpeg"
    assert stderr == "".join(
        f"lqsep: warning: left out: {film}/{name}: {why}\n" for name in ("a.mkv", "b.m4a")
    )
    assert document["counts"] == {"done": 1, "skipped": 0, "failed": 0}
    assert document["left_out"] == [
        {"path": f"{film}/{name}", "reason": why} for name in ("a.mkv", "b.m4a")
    ]
    # a folder and its files by a pattern are the same files; a file by its name is asked for
    _, stderr = separate(film, film / "*")
    assert stderr.count("left out") == 2
    _, stderr = separate(film / "b.m4a", code=1)
    assert f"cannot read {film}/b.m4a: {why}" in stderr


def test_with_ffmpeg_they_are_read(film: Path, find: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (film / "ffmpeg").write_text("#!/bin/sh")
    (film / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(film))
    assert [file.path.name for file in find(film).files] == ["a.mkv", "b.m4a", "c.wav"]


def test_a_header_that_is_wrong_is_told(separate: Any, tmp_path: Path) -> None:
    soundfile.write("long.flac", wave(8000).T, RATE)
    content = bytearray(Path("long.flac").read_bytes())
    content[21:26] = bytes([content[21] & 0xF0]) + (9000).to_bytes(4, "big")
    Path("long.flac").write_bytes(content)
    document, stderr = separate("long.flac")
    words = "long: its header counts 1.12 s, its frames 1.00 s, which are read"
    assert stderr == f"lqsep: warning: {words}\n"
    assert document["tracks"][0]["warnings"] == [words]
    report = json.loads(Path("out/toy/long/lqsep.json").read_text())
    assert report["warnings"] == [words.removeprefix("long: ")]
    assert report["input"]["n_samples"] == 8000


# Names


@pytest.mark.parametrize("jobs", [1, 2])
def test_names_need_not_be_utf8(separate: Any, jobs: int) -> None:
    Path("in").mkdir()
    for name in ("a", NOT_UTF8):
        write_audio(f"in/{name}.wav", wave(), RATE)
    document, stderr = separate("in", "-j", jobs)
    assert stderr == ""
    assert sorted(track["track"] for track in document["tracks"]) == ["a", NOT_UTF8]
    assert document["counts"]["done"] == 2
    stem = read_audio(f"out/toy/{NOT_UTF8}/drums.wav")[0]
    assert np.array_equal(stem, read_audio("out/toy/a/drums.wav")[0])
    report = json.loads(Path(f"out/toy/{NOT_UTF8}/lqsep.json").read_text(encoding="utf-8"))
    assert report["path"] == f"in/{NOT_UTF8}.wav"


@pytest.mark.parametrize("flags", [(), ("-j", "2"), ("--save-candidates", "1", "--residual")])
def test_such_names_are_printed_with_escapes(
    toy_model: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    for name in ("a", NOT_UTF8):
        write_audio(tmp_path / f"{name}.wav", wave(), RATE)
    (tmp_path / f"{NOT_UTF8}2.wav").write_bytes(b"no sound")
    command = [sys.executable, "-m", "lqsep", "separate", "-n", toy_model, "-o", tmp_path / "out"]
    files = [tmp_path / f"{name}.wav" for name in ("a", NOT_UTF8, f"{NOT_UTF8}2")]
    python_path = os.pathsep.join([os.environ["PYTHONPATH"], *filter(None, sys.path)])
    done = subprocess.run(
        [*command, *files, *flags],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict", "PYTHONPATH": python_path},
    )
    assert done.returncode == 1
    assert rb"caf\udce9: drums, bass" in done.stdout
    assert b"a: drums, bass" in done.stdout
    assert rb"caf\udce92.wav: not a readable audio file" in done.stderr
    assert b"Traceback" not in done.stderr


# What is no file


def test_a_pipe_in_a_folder_is_left_out_and_the_others_are_done(separate: Any) -> None:
    Path("in").mkdir()
    write_audio("in/a.wav", wave(), RATE)
    os.mkfifo("in/pipe.wav")
    os.mkfifo("in/pipe")  # which does not say that it is sound
    document, stderr = separate("in")
    assert document["counts"] == {"done": 1, "skipped": 0, "failed": 0}
    assert stderr == "lqsep: warning: left out: in/pipe.wav: not a regular file\n"
    assert document["left_out"] == [{"path": "in/pipe.wav", "reason": "not a regular file"}]


def test_a_device_is_no_file(separate: Any) -> None:
    document, stderr = separate("/dev/zero", code=1)
    assert "cannot read /dev/zero: not a regular file." in stderr
    assert document["counts"]["failed"] == 1


def writing_to(pipe: str, content: bytes) -> threading.Thread:
    thread = threading.Thread(target=lambda: Path(pipe).write_bytes(content))
    thread.start()
    return thread


def test_a_named_pipe_is_read_to_its_end(separate: Any) -> None:
    write_audio("a.wav", wave(), RATE)
    # as programs write to a pipe: of unknown length, and in pieces
    content = bytearray(Path("a.wav").read_bytes())
    content[40:44] = b"\xff" * 4
    os.mkfifo("b.wav")
    writer = writing_to("b.wav", bytes(content))
    document, stderr = separate("b.wav", "a.wav")
    writer.join()
    assert stderr == ""
    assert [(track["input"], track["track"]) for track in document["tracks"]] == [
        ("b.wav", "b"), ("a.wav", "a"),
    ]  # fmt: skip
    for stem in ("drums", "bass"):
        found = read_audio(f"out/toy/b/{stem}.wav")[0]
        assert np.array_equal(found, read_audio(f"out/toy/a/{stem}.wav")[0])
    assert json.loads(Path("out/toy/b/lqsep.json").read_text())["path"] == "b.wav"


def test_a_pipe_that_nobody_writes_to_does_not_hang(
    separate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "_PATIENCE_S", 0.1)
    os.mkfifo("a.wav")
    write_audio("b.wav", wave(), RATE)
    document, stderr = separate("a.wav", "b.wav", code=1)
    assert "cannot read a.wav: a pipe that no program writes to." in stderr
    assert document["counts"] == {"done": 1, "skipped": 0, "failed": 1}


class Stdin(io.TextIOWrapper):
    """Standard input with some bytes in it."""

    def __init__(self, content: bytes, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content))
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def test_standard_input(separate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_audio("a.wav", wave(), RATE)
    monkeypatch.setattr(sys, "stdin", Stdin(Path("a.wav").read_bytes()))
    document, stderr = separate("-")
    (track,) = document["tracks"]
    assert (stderr, track["input"], track["track"]) == ("", "-", "stdin")
    assert read_audio("out/toy/stdin/drums.wav")[0].shape == (1, 400)


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        (None, "cannot read -: there is no standard input."),
        (Stdin(b""), "cannot read -: nothing came through it."),
        (Stdin(b"", is_terminal=True), "cannot read -: standard input is a terminal;"),
        (Stdin(b"no sound at all"), "cannot read -: not a readable audio file"),
    ],
)
def test_nothing_of_use_comes_through(
    separate: Any, monkeypatch: pytest.MonkeyPatch, stdin: Any, words: str
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    _, stderr = separate("-", code=1)
    assert words in stderr
    assert "lqsep-" not in stderr  # the file that it is kept in means nothing to a user


def test_process_substitution(toy_model: Path, tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", wave(), RATE)
    python_path = os.pathsep.join([os.environ["PYTHONPATH"], *filter(None, sys.path)])
    done = subprocess.run(
        f"'{sys.executable}' -m lqsep separate -n '{toy_model}' <(cat a.wav) <(cat a.wav)",
        shell=True,
        executable="/bin/bash",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path},
    )
    assert (done.returncode, done.stderr) == (0, "")
    for track in ("pipe", "pipe_2"):
        assert read_audio(tmp_path / f"separated/toy/{track}/bass.wav")[0].shape == (1, 400)


def test_what_is_kept_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", Stdin(b"content"))
    with pytest.raises(KeyboardInterrupt):
        with ExitStack() as pipes:
            found = find_inputs(["-"], Path("out"), pipes)
            assert isinstance(found, Inputs) and found.files[0].path.read_bytes() == b"content"
            assert found.given == {found.files[0].path: "-"}
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(separate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spooling.shutil, "copyfileobj", full)
    monkeypatch.setattr(sys, "stdin", Stdin(b"content"))
    _, stderr = separate("-", code=1)
    assert "cannot keep what comes through -: No space left on device." in stderr
