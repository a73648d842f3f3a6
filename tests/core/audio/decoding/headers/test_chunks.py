"""Sizes that whoever wrote to a pipe could not know, and files that were cut."""

import struct

import numpy as np
import pytest
import soundfile

from lqsep.core.audio.decoding.headers import chunks
from lqsep.core.audio.decoding.headers.chunks import sample_bytes
from lqsep.core.audio.files import AudioReader, audio_info, read_audio, write_audio
from lqsep.core.errors import AudioError

N = 3001

# ffmpeg, flac, arecord and others; sox and espeak; lame; 4 GiB less a header.
PLACEHOLDERS = [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFF024, 0x7FFFFFFF, 0x80000000, 0x7FFFFFDB]
PLACEHOLDERS += [0xFFFFFFFF - 44, 0x7F000000, 0x7F000008]

LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"


@pytest.fixture
def make(tmp_path):
    def make(format, subtype="PCM_16", channels=2):
        wave = np.random.default_rng(0).uniform(-1, 1, (channels, N)).astype("f")
        path = tmp_path / "made"
        soundfile.write(path, wave.T, 44_100, subtype, format=format)
        return path.read_bytes(), read_audio(path)[0]

    return make


def check(path, content, expected):
    path.write_bytes(content)
    info = audio_info(path)
    assert (info.n_samples, info.warnings) == (N, ())
    with AudioReader(path) as reader:
        assert np.array_equal(reader.read(0, N), expected)
        assert np.array_equal(reader.read(1500, N), expected[:, 1500:])


@pytest.mark.parametrize("size", PLACEHOLDERS)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_wav(tmp_path, make, size, subtype):
    content, expected = make("WAV", subtype)
    at = content.index(b"data") + 4
    content = (
        content[:4]
        + struct.pack("<I", size)
        + content[8:at]
        + struct.pack("<I", size)
        + content[at + 4 :]
    )
    check(tmp_path / "a.wav", content, expected)


def test_a_wav_file_of_silence_and_unknown_size(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(N), 44_100)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:40] + bytes(4) + content[44:])
    assert audio_info(tmp_path / "a.wav").n_samples == N


@pytest.mark.parametrize(
    "behind", [b"", LIST, LIST + LIST, b"LIST" + struct.pack("<I", 3) + b"abc\0"]
)
def test_an_empty_wav_file_stays_empty(tmp_path, behind):
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1)), 44_100)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content + behind)
    with pytest.raises(AudioError, match="no samples"):
        audio_info(tmp_path / "a.wav")


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
@pytest.mark.parametrize("size", [None, 0, 2**64 - 1, 2**63 - 1])
def test_rf64_and_bw64(tmp_path, make, magic, size):
    content, expected = make("RF64")
    at = content.index(b"ds64") + 8
    sizes = content[at : at + 24] if size is None else struct.pack("<Q", size) * 3
    check(tmp_path / "a.wav", magic + content[4:at] + sizes + content[at + 24 :], expected)


@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF])
def test_bw64_whose_sizes_fit_in_32_bits(tmp_path, make, size):
    content, expected = make("WAV")
    at = content.index(b"data") + 4
    known = content[at : at + 4] if size is None else struct.pack("<I", size)
    check(tmp_path / "a.wav", b"BW64" + content[4:at] + known + content[at + 4 :], expected)


@pytest.mark.parametrize("size", [0, 8, 0xFFFFFFFF, 0x7F000008, 0x7FFFFFFF, 0x80000000])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])  # the latter is aifc
def test_aiff(tmp_path, make, size, subtype):
    content, expected = make("AIFF", subtype)
    at = content.index(b"SSND") + 4
    content = content[:at] + struct.pack(">I", size) + content[at + 4 :]
    count = content.index(b"COMM") + 10
    content = content[:count] + bytes(4) + content[count + 4 :]
    check(tmp_path / "a.aiff", content[:4] + struct.pack(">I", size) + content[8:], expected)


@pytest.mark.parametrize("size", [0, 24, 2**64 - 1, 2**63 - 1])
def test_w64(tmp_path, make, size):
    content, expected = make("W64")
    at = content.index(b"data") + 16
    number = struct.pack("<Q", size)
    check(
        tmp_path / "a.w64",
        content[:16] + number + content[24:at] + number + content[at + 8 :],
        expected,
    )


def test_caf(tmp_path, make):
    content, expected = make("CAF")
    at = content.index(b"data") + 4
    check(tmp_path / "a.caf", content[:at] + b"\xff" * 8 + content[at + 8 :], expected)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_au(tmp_path, make, size):
    content, expected = make("AU")
    check(tmp_path / "a.au", content[:8] + struct.pack(">I", size) + content[12:], expected)


@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "CAF", "AU"])
@pytest.mark.parametrize("cut", [1, 1000])
def test_a_cut_file_is_refused_before_it_is_read(tmp_path, make, format, cut):
    (tmp_path / "a").write_bytes(make(format)[0][:-cut])
    assert sample_bytes(tmp_path / "a").missing in (cut, cut + 1)  # a pad byte may count
    with pytest.raises(AudioError, match="cut short, at least .* bytes are missing"):
        audio_info(tmp_path / "a")


def test_what_follows_the_samples_may_be_missing(tmp_path, make):
    content, expected = make("WAV")
    check(tmp_path / "a.wav", content + LIST[:-1], expected)


@pytest.mark.parametrize("n_wraps", [1, 2])
def test_a_size_that_lost_its_upper_bits(tmp_path, make, n_wraps):
    """As a wav file of more than 4 GiB has it; here it is full of holes."""
    content, expected = make("WAV", "FLOAT")
    at = content.index(b"data") + 8
    path = tmp_path / "a.wav"
    with path.open("wb") as file:
        file.write(content)
        # N samples behind so many times 4 GiB of silence
        file.seek(at + n_wraps * 2**32)
        file.write(content[at:])
    found = sample_bytes(path)
    assert found.missing == 0
    n_samples = n_wraps * 2**29 + N
    info = audio_info(path)
    assert info.n_samples == n_samples
    assert len(info.warnings) == 1
    assert f"counts {8 * N} bytes of samples; there are {8 * n_samples}" in info.warnings[0]
    with AudioReader(path) as reader:
        assert np.array_equal(reader.read(0, N), expected)
        assert np.array_equal(reader.read(n_samples - N, n_samples), expected)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_more_than_4_gib_through_a_pipe(tmp_path, make, size):
    content, expected = make("WAV", "FLOAT")
    at = content.index(b"data") + 8
    path = tmp_path / "a.wav"
    with path.open("wb") as file:
        file.write(content[: at - 4] + struct.pack("<I", size) + content[at:])
        file.seek(at + 2**32)
        file.write(content[at:])
    info = audio_info(path)
    assert (info.n_samples, info.warnings) == (2**29 + N, ())
    with AudioReader(path) as reader:
        assert np.array_equal(reader.read(2**29, 2**29 + N), expected)


@pytest.mark.parametrize("size", [0x7FFFF000, 0xFFFFF000])
def test_a_file_that_is_as_long_as_a_placeholder(tmp_path, size):
    """What follows the samples is none of them."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(100), 44_100)
    content = path.read_bytes()
    with path.open("wb") as file:
        file.write(content[:40] + struct.pack("<I", size))
        file.seek(44 + size)
        file.write(LIST)
    assert audio_info(path).n_samples == size // 2


@pytest.mark.parametrize("size", [2**62, 2**63 - 1, 2**64 - 1])
def test_chunks_that_end_beyond_all_files(tmp_path, make, size):
    for format, name, order in (("W64", b"fmt ", "<Q"), ("CAF", b"desc", ">Q")):
        content, _ = make(format)
        at = content.index(name) + (16 if format == "W64" else 4)
        (tmp_path / "a").write_bytes(content[:at] + struct.pack(order, size) + content[at + 8 :])
        assert sample_bytes(tmp_path / "a").missing == 0
        with pytest.raises(AudioError):
            audio_info(tmp_path / "a")


def test_many_empty_chunks_do_not_take_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_MAX_CHUNKS", 10)
    read = []
    original = chunks._read
    monkeypatch.setattr(chunks, "_read", lambda *args: read.append(args) or original(*args))
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff\xff\xff\x7fWAVE" + bytes(1000))
    assert sample_bytes(tmp_path / "a.wav").missing == 0
    assert len(read) == 10


def test_what_we_write_is_what_it_says(tmp_path, make):
    _, wave = make("WAV")
    for name in ("a.wav", "a.flac", "a.ogg", "a.mp3"):
        write_audio(tmp_path / name, wave, 44_100)
        assert sample_bytes(tmp_path / name) == chunks.SampleBytes()
