"""libmpg123 prints nothing to the terminal, and nobody else is silenced."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lqsep.core.audio.decoding.quiet import without_mpg123
from lqsep.core.audio.files import read_audio, write_audio

pytestmark = pytest.mark.skipif(os.name != "posix", reason="descriptors are those of POSIX")


@pytest.fixture
def odd_mp3(tmp_path: Path) -> Path:
    """With zeros between two frames' bytes, which libmpg123 plays and complains of."""
    path = tmp_path / "odd.mp3"
    write_audio(path, (np.sin(np.arange(88200) * 0.05) * 0.3).astype(np.float32)[None], 44100)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(100) + data[middle:])
    return path


def test_odd_frames_are_told_to_the_log_alone(
    odd_mp3: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Commands that other tests ran may have left the one for the terminal.
    monkeypatch.setattr(logging.getLogger("lqsep"), "handlers", [])
    with caplog.at_level(logging.DEBUG, "lqsep"):
        wave, _ = read_audio(odd_mp3)
    assert wave.shape == (1, 88200)
    assert capfd.readouterr() == ("", "")
    assert any("libmpg123" in message for message in caplog.messages)


def test_other_lines_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with without_mpg123:
        os.write(2, b"[src/libmpg123/layer3.c:1] error: dequantization failed!\nours\nNote: odd\n")
        with without_mpg123:
            os.write(2, b"more of ours\n")
    os.write(2, b"the end\n")
    assert capfd.readouterr().err == "ours\nmore of ours\nthe end\n"


def test_without_a_stderr_its_number_may_be_that_of_the_sound(odd_mp3: Path) -> None:
    script = "import sys; from lqsep import read_audio; print(read_audio(sys.argv[1])[0].shape)"
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", script, str(odd_mp3)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=600)
    assert done.stdout == "(1, 88200)\n"
