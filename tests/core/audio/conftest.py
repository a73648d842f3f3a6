"""Sounds that show what noise hides, and files of all kinds, made here."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

FAKE_FFMPEG = """#!{python}
import sys
arguments = sys.argv[1:]
path = arguments[arguments.index("-i") + 1].removeprefix("file:")
wave = open(path, "rb").read().removeprefix(b"\\x1a\\x45\\xdf\\xa3")  # as test files have it
if wave.startswith(b"broken"):
    sys.exit("[matroska @ 0x55] no sound in it\\nmore words")
header = b".snd" + b"".join(n.to_bytes(4, "big") for n in (32, 2**32 - 1, 6, 44100, 2)) + bytes(8)
sys.stdout.buffer.write(header + wave)
sys.stdout.buffer.flush()
if wave.endswith(b"late"):
    sys.exit("[matroska @ 0x55] it broke off")
"""


def music(seconds: float, rate: int = 44_100, channels: int = 2) -> np.ndarray:
    """A low tone with decaying bursts of noise, ``channels samples``: mp3 frames of all sizes."""
    generator = np.random.default_rng(0)
    time = np.arange(round(seconds * rate)) / rate
    bursts = generator.standard_normal(len(time)) * np.exp(-(time % 0.5) / 0.03)
    wave = 0.5 * np.sin(2 * np.pi * 60 * time) + 0.4 * bursts
    return np.stack([wave * (1 - 0.1 * k) for k in range(channels)]).clip(-1, 1).astype(np.float32)


@pytest.fixture(name="music")
def _music() -> Callable[..., np.ndarray]:
    return music


@pytest.fixture
def mp3_bytes(tmp_path: Path) -> Callable[..., bytes]:
    """The bytes of an mp3 file of variable rate, with a tag in front that counts its frames."""

    def make(seconds: float = 4.0, rate: int = 44_100, channels: int = 2) -> bytes:
        path = tmp_path / "made.mp3"
        wave = music(seconds, rate, channels)
        soundfile.write(path, wave.T, rate)
        content = path.read_bytes()
        path.unlink()
        return content

    return make


@pytest.fixture
def ogg_bytes(tmp_path: Path) -> Callable[..., bytes]:
    """The bytes of an ogg file."""

    def make(
        seconds: float = 4.0, rate: int = 48_000, channels: int = 2, coding: str = "VORBIS"
    ) -> bytes:
        path = tmp_path / "made.ogg"
        # libvorbis cannot take very many samples at once.
        with soundfile.SoundFile(path, "w", rate, channels, coding, format="OGG") as file:
            for block in np.array_split(music(seconds, rate, channels).T, 50):
                file.write(block)
        content = path.read_bytes()
        path.unlink()
        return content

    return make


@pytest.fixture
def av_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file with PyAV: name, wave, coding, and how."""
    av = pytest.importorskip("av")

    def make(
        name: str, wave: np.ndarray, coding: str, rate: int = 44_100, format: str = "s16p",
        layout: str = "stereo", container: str | None = None, n_streams: int = 1,
        film: bool = False,
    ) -> Path:  # fmt: skip
        path = tmp_path / name
        values = np.ascontiguousarray(np.round(wave * 32768).clip(-32768, 32767).astype(np.int16))
        with av.open(str(path), "w", format=container) as output:
            if film:
                video = output.add_stream("mpeg4", rate=25)
                video.width = video.height = 64
            streams = [output.add_stream(coding, rate=rate) for _ in range(n_streams)]
            for stream in streams:
                stream.layout, stream.format, stream.bit_rate = layout, format, 128_000
            for stream in streams:
                size = stream.frame_size or 4096
                resampler = av.AudioResampler(format, layout, rate, frame_size=size)
                source = av.AudioFrame.from_ndarray(values, "s16p", layout)
                source.sample_rate, source.pts = rate, 0
                for frame in [*resampler.resample(source), *resampler.resample(None), None]:
                    output.mux(stream.encode(frame))
            if film:
                for _ in range(10):
                    picture = av.VideoFrame(64, 64, "yuv420p")
                    output.mux(video.encode(picture))
                output.mux(video.encode(None))
        return path

    return make


@pytest.fixture
def no_av(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if PyAV were not installed."""
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if no program could be found."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.fixture
def fake_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program of this name that takes what follows a film's magic for the samples in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ffmpeg").write_text(FAKE_FFMPEG.format(python=sys.executable))
    (folder / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
