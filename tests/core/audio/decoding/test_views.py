"""A file seen in parts, as libsndfile asks for it."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from lqsep.core.audio.decoding.headers.mpeg_frames import parse_header
from lqsep.core.audio.decoding.sndfile import SndfileStream
from lqsep.core.audio.decoding.streams import DecodingError
from lqsep.core.audio.decoding.views import FileView, replaced


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(100)))
    return tmp_path / "a"


def test_parts_follow_each_other(path):
    with FileView(path, [(10, 13), b"abc", (0, 2), (98, 100)]) as view:
        assert view.read() == bytes([10, 11, 12]) + b"abc" + bytes([0, 1, 98, 99])
        assert view.read(5) == b""
        assert (view.seek(2), view.read(3)) == (2, b"\x0cab")
        assert (view.tell(), view.seek(1, os.SEEK_CUR), view.read(1)) == (5, 6, b"\0")
        assert (view.seek(-2, os.SEEK_END), view.read(9)) == (8, bytes([98, 99]))
        assert view.seek(-50, os.SEEK_CUR) == 0
        assert view.readable() and view.seekable()


def test_a_buffer_is_filled_over_all_parts(path):
    """Less than was asked for stands for the end of the file."""
    with FileView(path, [(k, k + 1) for k in range(100)]) as view:
        buffer = bytearray(64)
        assert (view.readinto(buffer), bytes(buffer)) == (64, bytes(range(64)))
        assert view.readinto(buffer) == 36


def test_replaced_ranges(path):
    for others in ([], [(0, 4, b"HEAD")], [(5, 6, b"longer"), (90, 100, b"")]):
        expected, shift = bytearray(range(100)), 0
        for start, stop, content in others:
            expected[start + shift : stop + shift] = content
            shift += len(content) - (stop - start)
        with FileView(path, replaced(100, others)) as view:
            assert view.read() == bytes(expected)


def test_a_view_that_claims_to_be_longer(path):
    with FileView(path, [(0, 100)], claimed=10) as view:
        assert view.seek(0, os.SEEK_END) == 1000
        view.seek(95)
        assert view.read(50) == bytes(range(95, 100))
        assert view.seek(500) and view.read(5) == b""
        # libmpg123 asks for a tag here, and fails where there is nothing
        assert (view.seek(-128, os.SEEK_END), view.read(500)) == (872, bytes(128))


def test_what_goes_wrong_in_a_callback_is_not_lost(path, monkeypatch):
    noise = np.random.default_rng(0).uniform(-1, 1, 100_000)
    soundfile.write(path, noise, 44_100, format="FLAC")  # more than is read when it is opened
    size = path.stat().st_size
    stream = SndfileStream(path, view=lambda: FileView(path, [(0, size)]))
    monkeypatch.setattr(
        FileView, "_read_part", lambda *arguments: (_ for _ in ()).throw(OSError(5, "i/o error"))
    )
    with pytest.raises(DecodingError, match="i/o error"):
        while len(stream.read(10_000)):
            pass
    stream.close()
    stream.close()  # once more changes nothing


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_an_interruption_arrives(tmp_path, mp3_bytes):
    """Through a file object alone it is printed, and reading goes on."""
    content = mp3_bytes()
    first = parse_header(content[:4]).n_bytes
    (tmp_path / "a.mp3").write_bytes(content[first:] * 50)  # without the tag
    code = """
import os, signal, sys, threading
from lqsep.core.audio.files import AudioReader
with AudioReader(sys.argv[1]) as reader:
    reader.read(0, 10)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        while True:
            reader.read(reader.info.n_samples - 9, reader.info.n_samples)
            reader.read(0, 9)
    except KeyboardInterrupt:
        print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.mp3")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_views_are_read_outside_the_main_thread(path):
    """There an interruption would strike inside a callback, and be lost."""
    soundfile.write(path, np.zeros(100_000), 44_100, format="FLAC")
    size, threads = path.stat().st_size, set()

    class Watched(FileView):
        def readinto(self, buffer):
            threads.add(threading.current_thread())
            return super().readinto(buffer)

    stream = SndfileStream(path, view=lambda: Watched(path, [(0, size)]))
    assert len(stream.read(200_000)) == 100_000
    stream.close()
    assert threads and threading.main_thread() not in threads
    assert not any(thread.is_alive() for thread in threads)
