"""Unfinished files lie in a folder of their writer, and go with it or soon after."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lqsep.core.files import staging
from lqsep.core.files.staging import PREFIX, Staging, remove_all, sweep

WRITER = """
import sys, time
from lqsep.core.files.staging import Staging
own = Staging(sys.argv[1])
(own.folder / "song.wav").write_bytes(b"half")
print(own.folder, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _as_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_swept", set())


@pytest.fixture
def writer(tmp_path: Path):
    """Another process that is writing to the folder, and its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_it_is_hidden_and_goes(tmp_path: Path) -> None:
    with Staging(tmp_path) as first, Staging(tmp_path) as second:
        assert first.folder != second.folder
        assert first.folder.parent == tmp_path and first.folder.name.startswith(PREFIX)
        (first.folder / "file").write_text("half")
    assert list(tmp_path.iterdir()) == []
    first.close()
    with pytest.raises(OSError), Staging(tmp_path / "missing"):
        pytest.fail("there is no such place")


def test_the_next_process_removes_what_a_killed_one_left(writer, tmp_path: Path) -> None:
    process, left = writer
    sweep(tmp_path)
    assert (left / "song.wav").exists(), "its writer lives"
    process.send_signal(signal.SIGKILL)
    process.wait()
    sweep(tmp_path)
    assert left.exists(), "a process looks once"
    staging._swept.clear()
    with Staging(tmp_path) as own:
        assert sorted(tmp_path.iterdir()) == [own.folder]


def test_what_only_looks_like_it_stays(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}theirs").mkdir()
    (tmp_path / f"{PREFIX}theirs" / "song.wav").write_text("kept")
    (tmp_path / f"{PREFIX}named").mkdir()
    (tmp_path / f"{PREFIX}named" / staging._OWNER).write_text("somebody")
    (tmp_path / f"{PREFIX}file").write_text("kept")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / staging._OWNER).write_bytes(staging._MARK)
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    sweep(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    # With the mark it goes.
    (tmp_path / f"{PREFIX}named" / staging._OWNER).write_bytes(staging._MARK)
    staging._swept.clear()
    sweep(tmp_path)
    assert not (tmp_path / f"{PREFIX}named").exists() and elsewhere.exists()


def test_all_of_this_process_go_at_once(writer, tmp_path: Path) -> None:
    own = [Staging(tmp_path), Staging(tmp_path)]
    remove_all()
    assert list(tmp_path.iterdir()) == [writer[1]]
    for folder in own:
        folder.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError), Staging(tmp_path):
        pytest.fail("the folder is closed")
